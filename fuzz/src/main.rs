//! The binary of `deploy/fuzz`: libFuzzer around the target that `STITCH_FUZZ_TARGET` names. In an ordinary build it lists
//! the targets.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    use std::sync::OnceLock;
    static TARGET: OnceLock<stitch_fuzz::Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("STITCH_FUZZ_TARGET").unwrap_or_default();
        stitch_fuzz::target(&name).expect("STITCH_FUZZ_TARGET names a target")
    });
    target(bytes);
});

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for (name, _) in stitch_fuzz::TARGETS {
        writeln!(out, "{name}")?;
    }
    Ok(())
}
