//! Events made to trip up encoders and parsers.

use super::Sample;

/// The default limit for an event's data.
const LIMIT: usize = 1_000_000;

/// One of each kind of trouble.
pub(super) fn samples() -> Vec<Sample> {
    let mut samples: Vec<_> = TEXTS
        .iter()
        .map(|(name, text)| Sample::new(name, "message", text))
        .collect();
    samples.extend([
        Sample::new("JSON", "created", r#"{"n":1,"text":"a\nb","none":null}"#).json(),
        Sample::new("a type with punctuation", "order.created/v1", "a"),
        Sample::new("a type that JavaScript's objects have", "constructor", "a"),
        Sample::new("a type beyond ASCII", "änderung-😀", "a"),
        Sample::new("a type and no data", "created", ""),
        Sample::new("no UTF-8", "message", [0xff, 0xfe, 0x00, b'\n', 0xc3]),
        Sample::new("half a character", "message", &"😀".as_bytes()[..3]),
        Sample::new("a line at the limit", "message", "x".repeat(LIMIT)),
        Sample::new(
            "4-byte characters to the limit",
            "message",
            "😀".repeat(LIMIT / 4),
        ),
        Sample::new("many lines", "message", "\n".repeat(50_000)),
        Sample::new("after the large ones", "message", "small"),
    ]);
    samples
}

const TEXTS: &[(&str, &str)] = &[
    ("plain", "a"),
    ("empty", ""),
    ("LF alone", "\n"),
    ("CR alone", "\r"),
    ("CRLF alone", "\r\n"),
    ("two LF", "\n\n"),
    ("mixed line ends", "\r\r\n\n"),
    ("LF inside", "a\nb"),
    ("CR inside", "a\rb"),
    ("CRLF inside", "a\r\nb"),
    ("LF CR inside", "a\n\rb"),
    ("an empty line inside", "a\n\nb"),
    ("LF first", "\na"),
    ("CR first", "\ra"),
    ("CRLF first", "\r\na"),
    ("LF last", "a\n"),
    ("CR last", "a\r"),
    ("CRLF last", "a\r\n"),
    ("empty lines around", "\n\na\n\n"),
    ("NUL alone", "\0"),
    ("NUL inside", "a\0b\n\0"),
    ("BOM alone", "\u{feff}"),
    ("BOM first", "\u{feff}a"),
    ("BOM first on each line", "\u{feff}a\n\u{feff}b"),
    ("BOM inside", "a\u{feff}b"),
    ("4-byte characters", "😀𝄞\u{10ffff}"),
    ("combining and right-to-left", "e\u{301}\u{202e}אב\u{200d}"),
    ("a space alone", " "),
    ("a space first", " a"),
    ("two spaces first", "  a"),
    ("a tab first", "\ta"),
    ("spaces last", "a  "),
    ("spaces first on each line", " a\n  b\n \n"),
    ("a comment", ":a"),
    ("comments", ":\n: a\n:b"),
    ("a data field", "data: a"),
    ("fields", "data:a\ndata\nid: 1\nevent: forged\nretry: 1"),
    (
        "a whole event",
        "a\n\nevent: forged\nid: 99-zzzzzz\ndata: forged\n\n",
    ),
    (
        "a whole event by CR",
        "a\r\revent: forged\rid: 99-zzzzzz\rdata: forged\r\r",
    ),
    (
        "a whole event by CRLF",
        "a\r\n\r\nevent: forged\r\ndata: forged\r\n\r\n",
    ),
    ("a chunk's end", "a\r\n0\r\n\r\n"),
    (
        "what only Unicode calls line ends",
        "a\u{b}b\u{c}c\u{1c}d\u{1d}e\u{1e}f\u{85}g\u{2028}h\u{2029}i",
    ),
    ("controls", "\u{1}\u{1b}[2J\u{7f}"),
    ("quotes and backslashes", "\"\\n\\\\'</script>"),
];
