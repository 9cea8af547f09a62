use super::*;

fn with(section: &str) -> Result<Config, stitch_common::user_error::UserError> {
    parse(&format!("{LEAST}[batch]\n{section}\n"))
}

#[test]
fn batch_is_off_by_default_and_its_cluster_is_that_of_the_counts() {
    let config = parse(LEAST).unwrap();
    assert!(!config.batch.enabled && config.batch.realtime);
    assert_eq!(config.batch.cassandra, config.cassandra);
}

#[test]
fn a_cluster_of_its_own_is_a_whole_section() {
    let other = "enabled = true\n[batch.cassandra]\nnodes = [\"b:9042\"]\nkeyspace = \"other\"";
    let config = with(other).unwrap();
    assert_eq!(config.batch.cassandra.keyspace, "other");
    assert_eq!(config.cassandra.keyspace, "stitch");
    let error = with("[batch.cassandra]\nkeyspace = \"other\"").unwrap_err();
    let wanted = "batch.cassandra.nodes is missing";
    assert!(error.message.contains(wanted), "{error:?}");
}

#[test]
fn without_real_time_there_must_be_batch() {
    assert!(
        !with("enabled = true\nrealtime = false")
            .unwrap()
            .batch
            .realtime
    );
    let error = with("realtime = false").unwrap_err();
    assert!(
        error.message.contains("nothing would be counted"),
        "{error:?}"
    );
}

#[test]
fn a_flag_is_true_or_false() {
    let environment = [("STITCH_BATCH__ENABLED", "true")].into_iter().collect();
    let config = Config::parse("stitch.toml", LEAST, &environment).unwrap();
    assert!(config.batch.enabled);
    let error = with("enabled = \"yes\"").unwrap_err();
    assert!(
        error.message.contains("expected true or false"),
        "{error:?}"
    );
}

#[test]
fn the_layer_is_auto_where_there_is_batch_and_one_that_is_missing_is_refused() {
    let layer = |batch: &str, api: &str| {
        let config = with(&format!("{batch}\n[api]\n{api}"));
        config.map(|config| config.api.layer)
    };
    let (batch, pure) = ("enabled = true", "enabled = true\nrealtime = false");
    assert_eq!(layer("", "").unwrap(), LayerChoice::Realtime);
    assert_eq!(layer(batch, "").unwrap(), LayerChoice::Auto);
    assert_eq!(layer(pure, "").unwrap(), LayerChoice::Auto);
    let chosen = layer(batch, "layer = \"batch\"").unwrap();
    assert_eq!(chosen, LayerChoice::Batch);
    for (batch, api, message) in [
        ("", "layer = \"batch\"", "there are no batch counts"),
        (pure, "layer = \"realtime\"", "nothing counts in real time"),
        (batch, "layer = \"fast\"", "\"fast\" is no layer"),
    ] {
        let error = layer(batch, api).unwrap_err();
        assert!(error.message.contains(message), "{error:?}");
        assert!(
            error.help.contains("realtime") || error.help.contains("layer"),
            "{error:?}"
        );
    }
}
