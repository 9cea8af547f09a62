use super::*;

#[test]
fn a_command_is_a_list_of_words_and_names_a_program() {
    let with = |submit: &str| parse(&format!("{LEAST}[totals.spark]\nsubmit = {submit}\n"));
    let config = with("[\"spark-submit\", \"--conf\", \"a=b c\"]").unwrap();
    assert_eq!(
        config.totals.spark.submit,
        ["spark-submit", "--conf", "a=b c"]
    );
    for wrong in ["[]", "[\" \"]"] {
        let error = with(wrong).unwrap_err();
        assert!(
            error
                .message
                .contains("totals.spark.submit names no program"),
            "{error:?}"
        );
    }
}

#[test]
fn engines_are_local_and_spark() {
    let with = |engine: &str| parse(&format!("{LEAST}[totals]\nengine = \"{engine}\"\n"));
    assert_eq!(with("local").unwrap().totals.engine, Engine::Local);
    assert_eq!(with("spark").unwrap().totals.engine, Engine::Spark);
    let error = with("flink").unwrap_err();
    assert!(
        error
            .message
            .contains("totals.engine = \"flink\" is no engine"),
        "{error:?}"
    );
}
