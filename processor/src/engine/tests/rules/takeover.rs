//! Doubt: an event that a former owner may have applied is begun only once a doubt of its range is recorded.

use super::*;

fn takeovers(commands: &[Command]) -> Vec<(RangeId, &str)> {
    let doubts = commands.iter().filter_map(|command| match command {
        Command::RecordDoubt(range, DoubtCause::Takeover, detail) => {
            Some((*range, detail.as_str()))
        }
        _ => None,
    });
    doubts.collect()
}

#[test]
fn an_event_that_a_former_owner_may_have_applied_is_begun_once_its_range_is_doubted() {
    let mut scene = Scene::with_ceiling(Ceiling::At(Offset(2)));
    scene.deliver(vec![play(0, "u"), play(1, "u")]);
    scene.engine.on_range_acquired(scene.range);
    let commands = scene.after(1);
    let doubted = takeovers(&commands);
    assert_eq!(doubted.len(), 1, "once for a range: {doubted:?}");
    assert_eq!(doubted[0].0, scene.range);
    assert!(
        doubted[0].1.contains("from offset 0 up to 2"),
        "{doubted:?}"
    );
    assert_eq!(sent(&commands), []);
    assert_eq!(sent(&scene.after(600)), [], "the doubt is being recorded");
    scene
        .engine
        .on_doubt_recorded(scene.range, DoubtCause::Takeover);
    assert_eq!(sent(&scene.after(1)).len(), 1);
}

#[test]
fn what_no_former_owner_can_have_begun_is_not_doubted() {
    let mut scene = Scene::with_ceiling(Ceiling::AtCheckpoint);
    scene.deliver(vec![play(0, "u")]);
    drop(scene.after(0));
    scene.engine.on_checkpoint_written(P);
    scene.engine.on_range_acquired(scene.range);
    let commands = scene.after(1);
    assert_eq!(takeovers(&commands), []);
    assert_eq!(sent(&commands).len(), 1);
}
