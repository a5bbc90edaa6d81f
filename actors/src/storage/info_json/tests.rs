//! Tests of the `.info` file: tusd's form to the byte, and whatever else may be found on disk.

use proptest::prelude::*;

use super::*;

fn id(text: &str) -> UploadId {
    UploadId::parse(text).unwrap()
}

fn info(kind: Kind, length: Option<u64>) -> Info {
    Info { id: id("6f0e"), length, metadata: BTreeMap::new(), kind, place: None, own: None }
}

fn text(info: &Info) -> String {
    String::from_utf8(encode(info, &Places::file("/srv/up/6f0e", "/srv/up/6f0e.info")).unwrap()).unwrap()
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
        dropped_parts: vec![3, 4],
        owner: Some("ann".to_owned()),
        max_size: Some(5),
    });
    let own = r#""Wharf":{"RawMetadata":"a","RawConcat":"partial","Finished":true,"ExpiresAtSecs":9,"Finals":["f"],"DroppedParts":[3,4],"Owner":"ann","MaxSize":5}}"#;
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

fn any_id() -> impl Strategy<Value = UploadId> {
    "[a-z0-9+]{1,8}(/[a-z]{1,3})?".prop_map(|text| id(&text))
}

fn any_kind() -> impl Strategy<Value = Kind> {
    let is_final = proptest::collection::vec(any_id(), 0..4).prop_map(|partials| Kind::Final { partials });
    prop_oneof![Just(Kind::Single), Just(Kind::Partial), is_final]
}

fn any_own() -> impl Strategy<Value = Own> {
    let texts = (any::<Option<String>>(), any::<Option<String>>(), any::<Option<String>>());
    let lists = (proptest::collection::vec(any_id(), 0..3), proptest::collection::vec(any::<u16>(), 0..3));
    let numbers = (any::<Option<u64>>(), any::<Option<u64>>());
    (texts, any::<bool>(), numbers, lists).prop_map(
        |((raw_metadata, raw_concat, owner), finished, (expires_at_secs, max_size), (finals, dropped_parts))| Own {
            raw_metadata,
            raw_concat,
            finished,
            expires_at_secs,
            finals,
            dropped_parts,
            owner,
            max_size,
        },
    )
}

fn any_info() -> impl Strategy<Value = Info> {
    let metadata = proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4);
    (any_id(), any::<Option<u64>>(), metadata, any_kind(), proptest::option::of(any_own()))
        .prop_map(|(id, length, metadata, kind, own)| Info { id, length, metadata, kind, place: None, own })
}

/// The names of the fields, some in another case.
const FIELDS: &[&str] = &[
    "ID",
    "Size",
    "size",
    "SizeIsDeferred",
    "Offset",
    "MetaData",
    "metadata",
    "IsPartial",
    "IsFinal",
    "PartialUploads",
    "Storage",
    "Path",
    "Wharf",
    "Finished",
    "ExpiresAtSecs",
    "Finals",
    "RawMetadata",
    "x",
];

/// Values that a field of an `.info` might have.
fn any_document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z./]{0,6}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 24, 6, move |inner| {
        let fields = (proptest::sample::select(FIELDS), inner.clone());
        prop_oneof![
            1 => proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            3 => proptest::collection::vec(fields, 0..8).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    });
    value.prop_map(|value| value.to_string())
}

proptest::proptest! {
    #[test]
    fn what_is_written_is_read_again(info in any_info(), place in "/[a-z/ü]{0,9}") {
        let json = encode(&info, &Places::file(&place, "/x.info")).unwrap();
        prop_assert!(!json.iter().any(|byte| byte.is_ascii_control() || b"<>&".contains(byte)));
        let expected = Info { place: Some(place), ..info.clone() };
        prop_assert_eq!(decode(&json, &info.id).unwrap(), expected);
    }

    /// A crash or a bad disk may leave a part of it, or other bytes in it: no panic, and no name but the file's.
    #[test]
    fn damage_does_not_panic(
        info in any_info(), at: proptest::sample::Index, byte: u8, cut: proptest::sample::Index, bytes: Vec<u8>,
    ) {
        let mut json = encode(&info, &Places::file("/x", "/x.info")).unwrap();
        prop_assert!(decode(&json[..cut.index(json.len())], &info.id).is_err());
        let at = at.index(json.len());
        json[at] = byte;
        for json in [json, bytes] {
            if let Ok(read) = decode(&json, &info.id) {
                prop_assert_eq!(&read.id, &info.id);
            }
        }
    }

    #[test]
    fn any_document_is_read_or_broken(json in any_document()) {
        if let Ok(info) = decode(json.as_bytes(), &id("x")) {
            let again = encode(&info, &Places::file(info.place.as_deref().unwrap_or_default(), "/x.info")).unwrap();
            prop_assert_eq!(decode(&again, &id("x")).unwrap(), info);
        }
    }
}
