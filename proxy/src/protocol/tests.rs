use proptest::prelude::*;

use super::*;

#[test]
fn the_messages_of_the_existing_client_are_understood() {
    let chat = decode(r#"{"type":"chat","ideaId":"my-idea","message":"hi"}"#).unwrap();
    assert_eq!(chat.idea_id, "my-idea");
    assert_eq!(chat.command, Command::Chat { message: "hi".into(), message_id: None });
    let build = decode(r#"{"type":"build","ideaId":"x","instructions":"do","later":1}"#).unwrap();
    let permissions = Permissions::AcceptEdits;
    assert_eq!(build.command, Command::Build { instructions: "do".into(), message_id: None, permissions });
    assert_eq!(decode(r#"{"type":"cancel","ideaId":"x"}"#).unwrap().command, Command::Cancel);
}

#[test]
fn an_answer_is_a_word_a_reason_or_answers_by_question() {
    let answer = |more: &str| {
        let text = format!(r#"{{"type":"answer","ideaId":"x","requestId":"r","decision":{more}}}"#);
        decode(&text).map(|request| match request.command {
            Command::Answer { answer, .. } => answer,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(answer(r#""allow""#), Ok(Answer::Allow));
    assert_eq!(answer(r#""always""#), Ok(Answer::Always));
    assert_eq!(answer(r#""deny""#), Ok(Answer::Deny { message: DENIED.into() }));
    assert_eq!(answer(r#""deny","message":"no""#), Ok(Answer::Deny { message: "no".into() }));
    let answers = BTreeMap::from([("A?".to_owned(), "x".to_owned()), ("B?".to_owned(), "y, z".to_owned())]);
    assert_eq!(answer(r#""allow","answers":{"A?":"x","B?":["y","z"]}"#), Ok(Answer::Answers(answers)));
    assert_eq!(answer(r#""allow","answers":{"A?":1}"#), Err(Invalid));
}

#[test]
fn a_build_says_how_far_it_may_go() {
    let permissions = |mode: &str| {
        let text = format!(r#"{{"type":"build","ideaId":"x","instructions":"do","mode":{mode}}}"#);
        decode(&text).map(|request| match request.command {
            Command::Build { permissions, .. } => permissions,
            other => panic!("{other:?}"),
        })
    };
    for each in [Permissions::Ask, Permissions::AcceptEdits, Permissions::All, Permissions::Plan] {
        assert_eq!(permissions(&format!("\"{}\"", each.as_str())), Ok(each));
    }
    assert_eq!(permissions("null"), Ok(Permissions::AcceptEdits));
    assert_eq!(permissions("\"bypassPermissions\""), Err(Invalid), "never more than was said");
}

#[test]
fn a_subscription_names_a_run_and_a_place_or_neither() {
    let after = |text: &str| decode(text).map(|request| request.command);
    let at = |run, offset, sub| Command::Subscribe { after: Some(Position { run, seq: Seq { offset, sub } }) };
    assert_eq!(after(r#"{"type":"subscribe","ideaId":"x","run":2,"after":"120.1"}"#), Ok(at(2, 120, 1)));
    assert_eq!(after(r#"{"type":"subscribe","ideaId":"x","run":2}"#), Ok(at(2, 0, 0)));
    assert_eq!(after(r#"{"type":"subscribe","ideaId":"x"}"#), Ok(Command::Subscribe { after: None }));
    assert_eq!(
        after(r#"{"type":"subscribe","ideaId":"x","run":null,"after":null}"#),
        Ok(Command::Subscribe { after: None })
    );
    assert_eq!(after(r#"{"type":"subscribe","ideaId":"x","after":"1.0"}"#), Err(Invalid));
    assert_eq!(after(r#"{"type":"subscribe","ideaId":"x","run":1,"after":"-1.0"}"#), Err(Invalid));
}

#[test]
fn what_changes_something_on_the_vm_is_audited_and_nothing_else() {
    let audited = |rest: &str| {
        let command = decode(&format!(r#"{{"ideaId":"x","type":{rest}}}"#)).unwrap().command;
        assert_eq!(command.acts(), command.audited().is_some());
        command.audited()
    };
    assert_eq!(audited(r#""chat","message":"x""#), Some("chat"));
    assert_eq!(audited(r#""build","instructions":"x""#), Some("build"));
    assert_eq!(audited(r#""trim","keep":1"#), Some("trim"));
    assert_eq!(audited(r#""revoke","rule":"Read""#), Some("revoke"));
    assert_eq!(audited(r#""cancel""#), Some("stop"));
    assert_eq!(audited(r#""runs""#), None);
}

#[test]
fn garbage_is_invalid_and_nothing_worse() {
    let deep = "[".repeat(100_000);
    for bad in [
        "",
        "null",
        "[]",
        "1",
        "\"chat\"",
        "{}",
        "{",
        "{\"type\":\"chat\"}",
        "{\"type\":\"rm\",\"ideaId\":\"x\"}",
        "{\"type\":\"chat\",\"ideaId\":1,\"message\":\"x\"}",
        "{\"type\":\"chat\",\"ideaId\":\"x\",\"message\":null}",
        "{\"type\":\"answer\",\"ideaId\":\"x\",\"requestId\":\"r\",\"decision\":\"maybe\"}",
        &deep,
    ] {
        assert_eq!(decode(bad), Err(Invalid), "{}", &bad[..bad.len().min(80)]);
    }
}

#[test]
fn what_is_sent_is_addressed_as_the_client_wrote_it() {
    let error = Notice::error("Idea not found: a\"b", &About::default()).encode("a\"b");
    let value: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!(value, json!({"type": "claude:error", "ideaId": "a\"b", "error": "Idea not found: a\"b"}));
    let text = frame(&Prefix::new("a\"b"), &Bytes::from_static(b"\"type\":\"claude:text\",\"text\":\"x\""));
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(value, json!({"type": "claude:text", "ideaId": "a\"b", "text": "x"}));
    for text in [DRAINING, ALIVE] {
        serde_json::from_str::<serde_json::Value>(text).unwrap();
    }
    let empty: serde_json::Value = serde_json::from_str(&history("x", &[], None)).unwrap();
    assert_eq!(empty, json!({"type": "history", "ideaId": "x", "frames": [], "before": null}));
}

#[test]
fn a_failure_names_the_message_or_the_answer_that_it_is_about() {
    let failure = |text: &str| {
        let about = decode(text).unwrap().command.about();
        serde_json::from_str::<serde_json::Value>(&Notice::error("no", &about).encode("x")).unwrap()
    };
    let of = |more: serde_json::Value| {
        let mut all = json!({"type": "claude:error", "ideaId": "x", "error": "no"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(
        failure(r#"{"type":"chat","ideaId":"x","message":"hi","messageId":"m"}"#),
        of(json!({"messageId": "m"}))
    );
    assert_eq!(
        failure(r#"{"type":"build","ideaId":"x","instructions":"hi","messageId":"m"}"#),
        of(json!({"messageId": "m"}))
    );
    let answer = r#"{"type":"answer","ideaId":"x","requestId":"r","decision":"allow"}"#;
    assert_eq!(failure(answer), of(json!({"requestId": "r"})));
    assert_eq!(failure(r#"{"type":"cancel","ideaId":"x"}"#), of(json!({})));
    assert_eq!(failure(r#"{"type":"chat","ideaId":"x","message":"hi"}"#), of(json!({})));
}

proptest! {
    #[test]
    fn no_text_makes_decoding_fail_otherwise(text in any::<String>()) {
        let _either = decode(&text);
    }

    #[test]
    fn an_id_survives_encoding(id in any::<String>()) {
        let text = Notice::error("e", &About::default()).encode(&id);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(value["ideaId"].as_str(), Some(id.as_str()));
    }
}
