//! Parses the guides into blocks and prose, and finds quotations in files.

use std::path::Path;

use crate::read;

const GUIDES: [&str; 6] =
    ["plugin-guide.md", "mistakes.md", "from-python.md", "embedding.md", "cluster.md", "socket.md"];

/// A fenced block of a guide.
#[derive(Debug)]
pub(crate) struct Block {
    /// File and line of its beginning, for messages.
    pub(crate) at: String,
    /// The language after its fence.
    pub(crate) language: String,
    /// The text of the comment above it.
    pub(crate) comment: Option<String>,
    pub(crate) lines: Vec<String>,
}

impl Block {
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }

    pub(crate) fn source(&self) -> Option<&str> {
        self.comment.as_deref()?.strip_prefix("source: ")
    }
}

/// A guide's blocks, and the lines outside of blocks.
fn parse(guide: &str) -> (Vec<Block>, Vec<String>) {
    let (mut blocks, mut prose) = (Vec::<Block>::new(), Vec::new());
    let (mut comment, mut inside) = (None, false);
    for (number, line) in (1..).zip(read(Path::new("docs").join(guide)).lines()) {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                let at = format!("docs/{guide}:{number}");
                let (language, comment) = (language.to_owned(), comment.take());
                blocks.push(Block { at, language, comment, lines: Vec::new() });
            }
        } else if inside {
            let block = blocks.last_mut().expect("a block has begun");
            block.lines.push(line.to_owned());
        } else {
            assert!(
                !line.contains("```"),
                "docs/{guide}:{number}: a fence stands at the beginning of its line"
            );
            comment =
                line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")).map(str::to_owned);
            prose.push(line.to_owned());
        }
    }
    assert!(!inside, "docs/{guide}: the last block is never closed");
    (blocks, prose)
}

pub(crate) fn blocks(language: &str) -> Vec<Block> {
    let all = GUIDES.iter().flat_map(|guide| parse(guide).0);
    let found: Vec<_> = all.filter(|block| block.language == language).collect();
    assert!(!found.is_empty(), "no guide has a block of {language}: this test looks at nothing");
    found
}

pub(crate) fn prose() -> impl Iterator<Item = (&'static str, String)> {
    GUIDES.into_iter().flat_map(|guide| parse(guide).1.into_iter().map(move |line| (guide, line)))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Finds these lines in a text, adjacent and all indented by the same amount. Returns the index after them.
fn find<S: AsRef<str>>(lines: &[S], text: &[&str], from: usize) -> Option<usize> {
    let first = lines.first()?.as_ref();
    (from..text.len()).find_map(|start| {
        let deeper = indent(text[start]).checked_sub(indent(first))?;
        let same = |(line, there): (&S, &&str)| match line.as_ref() {
            line if line.trim().is_empty() => there.trim().is_empty(),
            line => there.get(..deeper).is_some_and(|by| by.trim().is_empty()) && there[deeper..] == *line,
        };
        let end = start + lines.len();
        (end <= text.len() && lines.iter().zip(&text[start..end]).all(same)).then_some(end)
    })
}

/// Whether a block's pieces, which `// …` separates, are in a text in this order.
pub(crate) fn stands_in(block: &Block, text: &str) -> bool {
    let text: Vec<&str> = text.lines().collect();
    let mut from = 0;
    for piece in block.lines.split(|line| line.trim() == "// …") {
        let blank = |line: &&String| line.trim().is_empty();
        let skip = piece.iter().take_while(blank).count();
        let keep = piece.len() - piece.iter().rev().take_while(blank).count();
        match find(&piece[skip.min(keep)..keep], &text, from) {
            Some(end) => from = end,
            None => return false,
        }
    }
    true
}

#[test]
fn a_quotation_is_told_from_something_like_it() {
    let block = |text: &str| Block {
        at: String::new(),
        language: "rust".to_owned(),
        comment: None,
        lines: text.lines().map(str::to_owned).collect(),
    };
    let file = "fn a() {\n    let b = 1;\n\n    c(b);\n}\n";
    for same in [
        "fn a() {\n    let b = 1;\n\n    c(b);\n}",
        "let b = 1;\n\nc(b);",
        "  c(b);",
        "fn a() {\n    // …\n    c(b);",
        "\nlet b = 1;\n// …\n}\n",
    ] {
        assert!(stands_in(&block(same), file), "{same}");
    }
    for other in [
        "let b = 2;",
        "let b = 1;\nc(b);",
        "fn a() {\nlet b = 1;",
        "c(b);\n// …\nlet b = 1;",
        "c(b)",
        "    c(b);\n}\n}",
        "",
        "let b = 1;\n// …",
    ] {
        assert!(!stands_in(&block(other), file), "{other}");
    }
}
