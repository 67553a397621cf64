//! The text of `Fn::Sub`, taken apart.

#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    Text(&'t str),
    /// `${Name}`
    Name(&'t str),
    /// `${!Name}`, which stands for the text `${Name}`.
    Literal(&'t str),
}

pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        let inner = &rest[begin + 2..];
        let Some(end) = inner.find('}') else { break };
        if begin > 0 {
            pieces.push(Piece::Text(&rest[..begin]));
        }
        let name = &inner[..end];
        pieces.push(match name.strip_prefix('!') {
            Some(literal) => Piece::Literal(literal),
            None => Piece::Name(name),
        });
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// What a name between the braces may be made of.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_text_apart() {
        use Piece::{Literal, Name, Text};
        for (text, expected) in [
            ("", vec![]),
            ("plain $ {x}", vec![Text("plain $ {x}")]),
            ("a${B}c", vec![Text("a"), Name("B"), Text("c")]),
            ("${A}${B.C}", vec![Name("A"), Name("B.C")]),
            ("${!A}-${AWS::Region}", vec![Literal("A"), Text("-"), Name("AWS::Region")]),
            ("$${A}", vec![Text("$"), Name("A")]),
            ("${A", vec![Text("${A")]),
            ("é${A}ü${", vec![Text("é"), Name("A"), Text("ü${")]),
        ] {
            assert_eq!(pieces(text), expected, "{text}");
        }
        assert!(is_name("AWS::Region") && is_name("A.b_1") && !is_name("") && !is_name("a b"));
    }
}
