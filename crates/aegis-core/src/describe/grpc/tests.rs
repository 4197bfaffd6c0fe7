use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Value, json};

use super::{Field, Message, read};
use crate::describe::body::Decoded;

fn message(fields: &[(&str, &str)]) -> Message {
    let mut message = Message::default();
    for (name, text) in fields {
        let of = name.starts_with("of").then(|| super::tests::message(&[("inner", "1 string")]));
        let (number, field) = Field::parse(name, text, of).expect("a field");
        message.add(number, field).expect("not taken");
    }
    message
}

fn known() -> Message {
    message(&[
        ("name", "1 string"),
        ("dry", "3 bool"),
        ("id", "4 int"),
        ("many", "8 string*"),
        ("numbers", "9 int*"),
        ("opaque", "10 message"),
        ("of", "11 message*"),
    ])
}

fn text(number: u32, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut out);
    encode_varint(text.len() as u64, &mut out);
    [out, text.to_vec()].concat()
}

fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::Varint, &mut out);
    encode_varint(value, &mut out);
    out
}

fn framed(fields: &[Vec<u8>]) -> Vec<u8> {
    let fields = fields.concat();
    let length = u32::try_from(fields.len()).expect("short").to_be_bytes();
    [&[0][..], &length, &fields].concat()
}

fn document(body: &[u8]) -> Result<Value, String> {
    match read(body, &known()) {
        Ok(Decoded::Documents { documents, .. }) => Ok(documents[0].clone()),
        Ok(Decoded::Opaque(_)) => Err("opaque".to_owned()),
        Err(unreadable) => Err(unreadable.reason),
    }
}

#[test]
fn listed_fields_are_read() {
    let body = framed(&[
        text(1, b"web"),
        varint(3, 1),
        varint(4, u64::MAX),
        text(8, b"a"),
        text(8, b"b"),
        text(9, &[1, 0xac, 0x02]),
        varint(9, 7),
        text(10, b"whatever"),
        text(11, &text(1, b"deep")),
    ]);
    let expected = json!({"name": "web", "dry": true, "id": -1, "many": ["a", "b"], "numbers": [1, 300, 7],
        "opaque": {}, "of": [{"inner": "deep"}]});
    assert_eq!(document(&body), Ok(expected));
    assert_eq!(document(&framed(&[])), Ok(json!({})));
}

#[test]
fn what_is_not_known_or_read_in_two_ways_is_not_read() {
    let broken = |body: Vec<u8>| document(&body);
    assert_eq!(broken(framed(&[text(2, b"x")])), Err("opaque".to_owned()));
    assert_eq!(broken(framed(&[text(11, &text(2, b"x"))])), Err("opaque".to_owned()));
    assert_eq!(broken([framed(&[text(1, b"a")]), framed(&[])].concat()), Err("opaque".to_owned()));
    let mut compressed = framed(&[text(1, b"a")]);
    compressed[0] = 1;
    assert_eq!(broken(compressed), Err("opaque".to_owned()));
    assert_eq!(broken(framed(&[text(1, b"a"), text(1, b"b")])), Err("grpc_duplicate_field".to_owned()));
    for fields in [varint(1, 1), text(3, b"x"), text(4, b"\x01"), text(1, b"\xff"), text(1, b"abc")[..4].to_vec()] {
        assert_eq!(broken(framed(std::slice::from_ref(&fields))), Err("grpc_malformed".to_owned()), "{fields:?}");
    }
    for body in [vec![], vec![0, 0, 0], vec![0, 0, 0, 0, 9, 1], vec![0x80, 0, 0, 0, 0]] {
        assert_eq!(broken(body.clone()), Err("grpc_malformed".to_owned()), "{body:?}");
    }
}

#[test]
fn a_list_of_fields_is_checked() {
    let field = |text: &str| Field::parse("f", text, None).map(drop);
    for wrong in ["", "1", "0 string", "x string", "1 float", "1 string x"] {
        assert!(field(wrong).is_err(), "{wrong}");
    }
    let (number, twice) = Field::parse("f", "1 string", None).expect("right");
    assert!(known().add(number, twice).is_err());
    let known = known();
    for read in [&["name"][..], &["many", "*"], &["many"], &["of", "*", "inner"]] {
        assert!(known.reads(read), "{read:?}");
    }
    for unread in [&["opaque"][..], &["nobody"], &["of", "*", "else"], &["name", "x"]] {
        assert!(!known.reads(unread), "{unread:?}");
    }
}
