//! Tests of the `.info` file: tusd's form to the byte, and whatever else may be found on disk.

use super::*;

fn id(text: &str) -> UploadId {
    UploadId::parse(text).unwrap()
}

fn info(kind: Kind, length: Option<u64>) -> Info {
    Info { id: id("6f0e"), length, metadata: BTreeMap::new(), kind, place: None, own: None }
}

fn text(info: &Info) -> String {
    String::from_utf8(encode(info, "/srv/up/6f0e", "/srv/up/6f0e.info").unwrap()).unwrap()
}

const PLACES: &str = r#""Storage":{"InfoPath":"/srv/up/6f0e.info","Path":"/srv/up/6f0e","Type":"filestore"}"#;

#[test]
fn it_is_written_byte_for_byte_as_tusd_does() {
    let mut single = info(Kind::Single, Some(1_048_576));
    single.metadata = [("filename", "plan.pdf")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(
        text(&single),
        [
            r#"{"ID":"6f0e","Size":1048576,"SizeIsDeferred":false,"Offset":0,"MetaData":{"filename":"plan.pdf"},"#,
            r#""IsPartial":false,"IsFinal":false,"PartialUploads":null,"#,
            PLACES,
            "}"
        ]
        .concat()
    );
    let kind = Kind::Final { partials: vec![id("b"), id("a/c"), id("b")] };
    assert_eq!(
        text(&info(kind, None)),
        [
            r#"{"ID":"6f0e","Size":0,"SizeIsDeferred":true,"Offset":0,"MetaData":{},"#,
            r#""IsPartial":false,"IsFinal":true,"PartialUploads":["b","a/c","b"],"#,
            PLACES,
            "}"
        ]
        .concat()
    );
}

#[test]
fn own_fields_stand_behind_tusds() {
    let mut partial = info(Kind::Partial, Some(0));
    partial.own = Some(Own::default());
    assert!(text(&partial).contains(r#""IsPartial":true,"IsFinal":false,"PartialUploads":null,"#));
    assert!(text(&partial).ends_with(&format!(r#"{PLACES},"Wharf":{{"Finished":false}}}}"#)));
    partial.own = Some(Own {
        raw_metadata: Some("a".to_owned()),
        raw_concat: Some("partial".to_owned()),
        finished: true,
        expires_at_secs: Some(9),
        finals: vec![id("f")],
    });
    let own = r#""Wharf":{"RawMetadata":"a","RawConcat":"partial","Finished":true,"ExpiresAtSecs":9,"Finals":["f"]}}"#;
    assert!(text(&partial).ends_with(own), "{}", text(&partial));
}

#[test]
fn html_characters_and_line_separators_are_escaped_and_keys_sorted() {
    let mut single = info(Kind::Single, Some(1));
    let pairs = [("b", "<>&\"\\\n\u{2028}\u{2029}ü\u{1}"), ("B", ""), ("a", ""), ("é", "/")];
    single.metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let expected = r#""MetaData":{"B":"","a":"","b":"\u003c\u003e\u0026\"\\\n\u2028\u2029ü\u0001","é":"/"},"#;
    assert!(text(&single).contains(expected), "{}", text(&single));
}

#[test]
fn reading_is_lenient() {
    let minimal = decode(b"{}", &id("x")).unwrap();
    assert_eq!(minimal, Info { id: id("x"), ..info(Kind::Single, Some(0)) });
    let odd = br#" {"storage":{"type":"x","PATH":"/p"}, "metadata":{"k":null,"v":"w"}, "size":7, "ID":"other",
        "Unknown":[1], "partialuploads":null, "SIZEISDEFERRED":null, "isPartial":true, "wharf":null} "#;
    let odd = decode(odd, &id("x")).unwrap();
    assert_eq!((&odd.id, odd.length, &odd.kind), (&id("x"), Some(7), &Kind::Partial));
    assert_eq!(odd.place.as_deref(), Some("/p"));
    assert_eq!(odd.metadata, [("k", ""), ("v", "w")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!(odd.own, None);
    let damaged = decode(b"{\"MetaData\":{\"a\":\"\xff\"},\"Size\":1,\"SizeIsDeferred\":true}", &id("x")).unwrap();
    assert_eq!((damaged.length, damaged.metadata["a"].as_str()), (None, "\u{fffd}"));
}

#[test]
fn what_makes_no_sense_is_broken() {
    for json in [
        "",
        "{",
        "null",
        "[]",
        r#"{"Size":-1}"#,
        r#"{"Size":"7"}"#,
        r#"{"IsFinal":1}"#,
        r#"{"MetaData":{"a":1}}"#,
        r#"{"MetaData":[]}"#,
        r#"{"IsFinal":true,"PartialUploads":["../x"]}"#,
        r#"{"IsFinal":true,"PartialUploads":"x"}"#,
        r#"{"Storage":{"Path":1}}"#,
        r#"{"Size":1}x"#,
    ] {
        assert!(decode(json.as_bytes(), &id("x")).is_err(), "{json}");
    }
}
