use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;

use super::*;

fn headers(media_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))])
}

/// What is read of an answer, whichever way it is cut into pieces.
fn read(dialect: Dialect, media_type: &'static str, text: &str) -> Option<(u64, u64, u64)> {
    let with = |size: usize| {
        let mut reader = Reader::new(dialect, &headers(media_type))?;
        text.as_bytes().chunks(size).for_each(|piece| reader.feed(piece));
        reader.finish().map(|usage| (usage.input_tokens, usage.output_tokens, usage.cached_tokens))
    };
    let whole = with(text.len().max(1));
    for size in [1, 2, 7] {
        assert_eq!(with(size), whole, "{size} bytes at a time");
    }
    whole
}

const JSON: &str = "application/json; charset=utf-8";
const SSE: &str = "text/event-stream";

#[test]
fn plain_answers_say_it_at_their_top() {
    let chat = r#"{"id":"x","choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":1}","usage":3}}],
        "usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    assert_eq!(read(Dialect::OpenAi, JSON, chat), Some((19, 10, 4)));
    let responses = r#"{"output":[],"usage":{"input_tokens":36,"output_tokens":87,"output_tokens_details":{"reasoning_tokens":7}},"user":null}"#;
    assert_eq!(read(Dialect::OpenAi, JSON, responses), Some((36, 87, 0)));
    let embeddings = r#"{"data":[{"embedding":[0.1,-2e3]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    assert_eq!(read(Dialect::OpenAi, JSON, embeddings), Some((8, 0, 0)));
    let message = r#"{"usage":{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":5,"output_tokens":3}}"#;
    assert_eq!(read(Dialect::Anthropic, JSON, message), Some((115, 3, 100)));
    let gemini = r#"{"candidates":[],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":6,"thoughtsTokenCount":20,"totalTokenCount":30}}"#;
    assert_eq!(read(Dialect::Gemini, JSON, gemini), Some((4, 26, 0)));
    let list = r#"[{"usageMetadata":{"promptTokenCount":4}},
        {"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":6}}]"#;
    assert_eq!(read(Dialect::Gemini, JSON, list), Some((4, 6, 0)), "a stream without events is one list");
}

#[test]
fn streams_say_it_at_their_end() {
    let chat = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\r\n\r\ndata: [DONE]\n\n";
    assert_eq!(read(Dialect::OpenAi, SSE, chat), Some((5, 2, 0)));
    let responses = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n\
        event: response.completed\ndata: {\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":9,\"output_tokens\":8}}}\n\n";
    assert_eq!(read(Dialect::OpenAi, SSE, responses), Some((9, 8, 0)));
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n";
    let delta =
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":15}}\n\n";
    assert_eq!(read(Dialect::Anthropic, SSE, &format!("{start}: ping\n\n{delta}")), Some((25, 15, 0)));
    let gemini = "data: {\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":1}}\n\n\
        data: {\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":7}}\n\n";
    assert_eq!(read(Dialect::Gemini, SSE, gemini), Some((3, 7, 0)));
    assert_eq!(read(Dialect::Anthropic, SSE, start), None, "a beginning is no end");
    let two_lines = "data: {\"usage\":\ndata: {\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n";
    assert_eq!(read(Dialect::OpenAi, SSE, two_lines), Some((5, 2, 0)));
}

#[test]
fn what_isnt_said_is_unknown() {
    let without = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n";
    assert_eq!(read(Dialect::OpenAi, SSE, without), None, "the request didn't ask for it");
    for text in [
        "",
        "{}",
        "null",
        r#"{"usage":null}"#,
        r#"{"usage":{"prompt_tokens":5}}"#,
        r#"{"usage":{"prompt_tokens":-5,"completion_tokens":1}}"#,
        r#"{"usage":{"prompt_tokens":5,"completion_tokens":1}"#,
        r#"{"x":{"usage":{"prompt_tokens":5,"completion_tokens":1}}}"#,
        r#"{"choices":[{"usage":{"prompt_tokens":5,"completion_tokens":1}}]}"#,
        r#"{"usage":{"prompt_tokens":5,"completion_tokens":}}"#,
        r#"{"usage":"a lot"}"#,
    ] {
        assert_eq!(read(Dialect::OpenAi, JSON, text), None, "{text}");
    }
    assert!(Reader::new(Dialect::OpenAi, &headers("audio/mpeg")).is_none());
    let long = format!(r#"{{"usage":{{"prompt_tokens":5,"x":"{}","completion_tokens":1}}}}"#, "a".repeat(20_000));
    assert_eq!(read(Dialect::OpenAi, JSON, &long), None);
}

#[test]
fn a_coding_is_taken_off_and_a_broken_one_is_unknown() {
    let text = format!(r#"{{"x":"{}","usage":{{"prompt_tokens":5,"completion_tokens":1}}}}"#, "a".repeat(200_000));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let coded = gzip.finish().unwrap();
    let mut headers = headers(JSON);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let of = |bytes: &[u8]| {
        let mut reader = Reader::new(Dialect::OpenAi, &headers).unwrap();
        bytes.chunks(11).for_each(|piece| reader.feed(piece));
        reader.finish()
    };
    assert_eq!(of(&coded).map(|usage| usage.input_tokens), Some(5));
    assert_eq!(of(&coded[..coded.len() - 9]), None);
    assert_eq!(of(b"plain"), None);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
    assert!(Reader::new(Dialect::OpenAi, &headers).is_none());
}

proptest::proptest! {
    /// Whatever comes, nothing is read of it that it doesn't say at its top.
    #[test]
    fn any_bytes_are_read_alike_in_any_pieces(text in "[\\[\\]{}\",:\\\\ a-e0-9\r\ndata:]{0,120}") {
        proptest::prop_assert_eq!(read(Dialect::OpenAi, JSON, &text), None);
        proptest::prop_assert_eq!(read(Dialect::OpenAi, SSE, &text), None);
    }
}
