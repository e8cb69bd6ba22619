//! XML files: no document types and therefore no entities of their own, and a bounded number of nodes. What is read was
//! written by others, and no reason repeats any of it.

use roxmltree::{Document, Error, ParsingOptions};

use crate::import::{Bad, LARGEST_XML};

pub(super) use roxmltree::Node;

/// The most nodes of a document: about 30,000 key fobs, and little more than 100 MB of memory.
const MOST_NODES: u32 = 2_000_000;

/// The text of a file.
///
/// # Errors
/// Where it is too large, or no UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Bad> {
    if bytes.len() > LARGEST_XML {
        return Err(Bad::file("the file is larger than 32 MiB: split it"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Bad::file("the file is not UTF-8"))?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Bad::file("the file is empty"));
    }
    Ok(text)
}

/// Parses a text. Its nodes borrow from it, so that values without references and carriage returns are not copied.
///
/// # Errors
/// Where it is no XML, or more than is allowed.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Bad> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    // The errors of the library repeat names of the text: they go no further.
    Document::parse_with_options(text, options).map_err(|error| match error {
        Error::DtdDetected => Bad::file("the file declares a document type, which no such file has"),
        Error::NodesLimitReached => Bad::file("the file has too many elements: split it"),
        _ => Bad::file("the file is not XML, or cut off"),
    })
}

/// The elements of this name below `node`, in whatever namespace.
pub(super) fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The first of [`children`].
pub(super) fn child<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> Option<Node<'a, 'input>> {
    children(node, name).next()
}

/// The element that `path` leads to.
pub(super) fn descend<'a, 'input>(node: Node<'a, 'input>, path: &[&'static str]) -> Option<Node<'a, 'input>> {
    path.iter().try_fold(node, |node, name| child(node, name))
}

/// The text of the element that `path` leads to; `None` where there is none but white space. Nor where a comment or an
/// element splits it: half of a value would be another value.
pub(super) fn value<'a>(node: Node<'a, '_>, path: &[&'static str]) -> Option<&'a str> {
    let node = descend(node, path)?;
    let mut children = node.children();
    let text = children.next().filter(Node::is_text)?.text().map(str::trim).filter(|text| !text.is_empty());
    text.filter(|_| children.next().is_none())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn no_document_type_is_read_so_that_no_entity_can_be_declared() {
        let passwd = "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>";
        let laughs = "<!DOCTYPE a [<!ENTITY x 'ha'><!ENTITY y '&x;&x;'>]><a>&y;</a>";
        for bad in [passwd, laughs, "<!DOCTYPE a><a/>", "<!DOCTYPE a SYSTEM 'http://192.0.2.1/a.dtd'><a/>"] {
            assert_eq!(parse(bad).err().unwrap().reason, "the file declares a document type, which no such file has");
        }
        // Without a document type there is nothing that an entity could stand for.
        assert_eq!(parse("<a>&x;</a>").err().unwrap().reason, "the file is not XML, or cut off");
    }

    #[test]
    fn size_nodes_and_depth_are_bounded() {
        assert_eq!(text(&vec![b' '; 100 << 20]).unwrap_err().reason, "the file is larger than 32 MiB: split it");
        let many = format!("<a>{}</a>", "<b/>".repeat(2_000_001));
        assert_eq!(parse(&many).err().unwrap().reason, "the file has too many elements: split it");
        let deep = format!("{}{}", "<a>".repeat(500_000), "</a>".repeat(500_000));
        assert!(parse(&deep).is_ok());
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for (bytes, reason) in [
            (&b""[..], "the file is empty"),
            (b" \n", "the file is empty"),
            (b"\xff\xfe<\0a\0/\0>\0", "the file is not UTF-8"),
        ] {
            assert_eq!(text(bytes).unwrap_err().reason, reason);
        }
        for bad in ["<a>", "<a>\0</a>", "a", "<a/><a/>", "<a b='1' b='2'/>"] {
            assert_eq!(parse(bad).err().unwrap().reason, "the file is not XML, or cut off", "{bad:?}");
        }
    }

    #[test]
    fn a_value_that_a_comment_splits_is_none() {
        let document = parse("<a><b> x </b><c>x<!-- -->y</c><d><e>z</e></d><f> </f></a>").unwrap();
        let of = |path: &[&'static str]| value(document.root_element(), path);
        assert_eq!((of(&["b"]), of(&["c"]), of(&["d"]), of(&["f"])), (Some("x"), None, None, None));
        assert_eq!((of(&["d", "e"]), of(&["d", "x"])), (Some("z"), None));
    }
}
