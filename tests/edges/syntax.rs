//! Reads which modules and items a Rust source names.
//!
//! The reader knows attributes, visibilities, `use` trees, `mod`, and the keywords that declare an item. Any
//! other name starts a path, in types, expressions, patterns and macros alike. The reader skips items that
//! are compiled for tests only.

use std::collections::{BTreeMap, BTreeSet};

use crate::tokens::{Token, is_word, tokens};

/// What one module names. An inline module (`mod name { … }`) is among its parent's `children`.
#[derive(Debug, Default)]
pub(crate) struct Module<'a> {
    pub(crate) imports: Vec<Import<'a>>,
    /// Paths and single names outside of `use` declarations.
    pub(crate) paths: Vec<Path<'a>>,
    /// Items that the module defines itself. Items that a macro defines are missing.
    pub(crate) items: BTreeSet<&'a str>,
    /// Modules below this one; `None` for a module in a file of its own.
    pub(crate) children: BTreeMap<&'a str, Option<Module<'a>>>,
}

impl Module<'_> {
    /// Whether a path or an import of this module starts with a name.
    pub(crate) fn starts_paths_with(&self, name: &str) -> bool {
        let paths = self.paths.iter().map(|path| &path.names);
        let imports = self.imports.iter().map(|import| &import.path);
        paths.chain(imports).any(|names| names.len() > 1 && names[0] == name)
    }
}

/// One name of a `use` declaration. `use a::{b as c, d::*}` has two.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import<'a> {
    /// Starts with `::` if the declaration does. A glob's path ends at the name before the `*`.
    pub(crate) path: Vec<&'a str>,
    /// The name in this module: the last of the path, the one after `as`, or `*`.
    pub(crate) name: &'a str,
    /// Whether the declaration has a visibility, and so gives the name to other modules too.
    pub(crate) reexported: bool,
    pub(crate) line: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    pub(crate) names: Vec<&'a str>,
    pub(crate) line: usize,
}

/// Reads a source.
pub(crate) fn read(source: &str) -> Module<'_> {
    Reader { tokens: tokens(source), at: 0 }.module()
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The text of the token so many places on; empty after the end.
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text)
    }

    fn next(&mut self) -> &'a str {
        let text = self.peek(0);
        self.at += 1;
        text
    }

    fn eat(&mut self, text: &str) -> bool {
        let eaten = self.peek(0) == text;
        self.at += usize::from(eaten);
        eaten
    }

    fn ended(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Reads to the end of the module: its closing brace, or the end of the file.
    fn module(&mut self) -> Module<'a> {
        let mut module = Module::default();
        let mut depth = 0;
        while !self.ended() {
            match self.peek(0) {
                "}" if depth == 0 => break,
                "#" if self.test_only() => self.skip_item(),
                "pub" => {
                    self.skip_visibility();
                    if self.peek(0) == "use" {
                        self.use_declaration(true, &mut module.imports);
                    }
                }
                // `use<'a>` in a type lists what the type captures.
                "use" if self.peek(1) != "<" => self.use_declaration(false, &mut module.imports),
                "mod" => self.child(&mut module),
                "struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static"
                | "macro_rules" => {
                    self.declaration(depth == 0, &mut module.items);
                }
                "::" => {
                    // Another crate's item, or one that belongs to a type: `::std::mem`, `<T>::new`.
                    self.at += 1;
                    self.path();
                }
                text if text.starts_with(is_word) => self.mention(&mut module.paths),
                text => {
                    match text {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    self.at += 1;
                }
            }
        }
        module
    }

    /// Reads `mod name;` or `mod name { … }`.
    fn child(&mut self, module: &mut Module<'a>) {
        self.at += 1;
        let name = self.peek(0);
        match self.peek(1) {
            ";" => {
                module.children.entry(name).or_default();
                self.at += 2;
            }
            "{" => {
                self.at += 2;
                // Two modules of one name are for two configurations of the build.
                let inline = module.children.entry(name).or_default().get_or_insert_default();
                let Module { imports, paths, items, children } = self.module();
                inline.imports.extend(imports);
                inline.paths.extend(paths);
                inline.items.extend(items);
                inline.children.extend(children);
                self.eat("}");
            }
            // In a macro: `mod $name`.
            _ => {}
        }
    }

    /// Reads a keyword that declares an item, and the item's name.
    fn declaration(&mut self, in_module: bool, items: &mut BTreeSet<&'a str>) {
        let keyword = self.next();
        self.eat("!"); // macro_rules!
        let name = self.peek(0);
        // Not a declaration: `fn(A)`, `*const A`, `const fn`, `set.union(…)`.
        let declares = name.starts_with(is_word) && (keyword != "const" || matches!(self.peek(1), ":"));
        if declares {
            self.at += 1;
            if in_module {
                items.insert(name);
            }
        }
    }

    /// Reads a path or a single name that may stand for an item.
    fn mention(&mut self, paths: &mut Vec<Path<'a>>) {
        let Token { line, .. } = self.tokens[self.at];
        let before = |count: usize| self.at.checked_sub(count).map_or("", |at| self.tokens[at].text);
        let member = before(1) == "." && before(2) != "."; // `x.name`, and not `0..name`
        let names = self.path();
        let called = self.peek(0) == "(" || self.peek(0) == "!" && self.peek(1) != "=";
        let item = names.len() > 1 || called || names[0].starts_with(char::is_uppercase);
        if item && !member {
            paths.push(Path { names, line });
        }
    }

    /// Reads names with `::` between them.
    fn path(&mut self) -> Vec<&'a str> {
        let mut names = Vec::new();
        while self.peek(0).starts_with(is_word) {
            names.push(self.next());
            if !(self.peek(0) == "::" && self.peek(1).starts_with(is_word)) {
                break;
            }
            self.at += 1;
        }
        names
    }

    /// Skips `pub`, `pub(crate)`, `pub(in path)`; of `pub (A, B)` in a tuple only the `pub`.
    fn skip_visibility(&mut self) {
        self.at += 1;
        let restricted = match self.peek(1) {
            "crate" | "self" | "super" => self.peek(2) == ")",
            within => within == "in",
        };
        if self.peek(0) == "(" && restricted {
            while !self.ended() && self.next() != ")" {}
        }
    }

    fn use_declaration(&mut self, reexported: bool, imports: &mut Vec<Import<'a>>) {
        self.at += 1;
        self.use_tree(&[], reexported, imports);
        self.eat(";");
    }

    fn use_tree(&mut self, prefix: &[&'a str], reexported: bool, imports: &mut Vec<Import<'a>>) {
        let mut path = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        if self.peek(0) == "::" {
            path.push(self.next());
        }
        loop {
            match self.next() {
                "{" => {
                    while !self.ended() && !self.eat("}") {
                        self.use_tree(&path, reexported, imports);
                        self.eat(",");
                    }
                    return;
                }
                "*" => {
                    imports.push(Import { path, name: "*", reexported, line });
                    return;
                }
                name => path.push(name),
            }
            if !self.eat("::") {
                break;
            }
        }
        if path.len() > 1 {
            path.pop_if(|last| *last == "self");
        }
        let name = if self.eat("as") { self.next() } else { path[path.len() - 1] };
        imports.push(Import { path, name, reexported, line });
    }

    /// Whether the attribute that starts here compiles its item for tests only. Reads nothing.
    fn test_only(&mut self) -> bool {
        let start = self.at;
        self.at += 1;
        self.eat("!");
        let test_only = self.eat("[") && self.peek(0) == "cfg" && self.implies_test();
        self.at = start;
        test_only
    }

    /// Reads a predicate of `cfg`, or `cfg(…)` itself: whether the predicate is false outside of tests.
    fn implies_test(&mut self) -> bool {
        let name = self.next();
        if self.eat("=") {
            self.at += 1;
            return false;
        }
        if !self.eat("(") {
            return name == "test";
        }
        let mut parts = Vec::new();
        while !self.ended() && !self.eat(")") {
            parts.push(self.implies_test());
            self.eat(",");
        }
        match name {
            "cfg" | "all" => parts.contains(&true),
            "any" => !parts.contains(&false),
            _ => false,
        }
    }

    /// Skips an attribute and what it applies to: an item to its end, a field or a statement to its comma or
    /// semicolon. An inner attribute (`#![…]`) applies to the rest of the module.
    fn skip_item(&mut self) {
        let whole_module = self.peek(1) == "!";
        while self.eat("#") {
            self.eat("!");
            self.skip_brackets();
        }
        if self.peek(0) == "pub" {
            self.skip_visibility();
        }
        let after_keyword = self.peek(1);
        let (until_brace, until_comma) = match self.peek(0) {
            "use" | "static" | "type" | "let" => (false, false),
            "const" => (["fn", "async", "unsafe", "extern"].contains(&after_keyword), false),
            "fn" | "struct" | "enum" | "union" | "trait" | "impl" | "mod" | "async" | "unsafe" | "extern"
            | "macro_rules" => (true, false),
            _ => (true, true),
        };
        while !self.ended() {
            match self.peek(0) {
                "(" | "[" => self.skip_brackets(),
                "{" => {
                    self.skip_brackets();
                    if until_brace && !whole_module {
                        return;
                    }
                }
                ")" | "]" | "}" => return,
                text => {
                    self.at += 1;
                    if !whole_module && (text == ";" || text == "," && until_comma) {
                        return;
                    }
                }
            }
        }
    }

    /// Skips to the bracket that closes the one here.
    fn skip_brackets(&mut self) {
        let mut depth = 0;
        while !self.ended() {
            match self.next() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}

/// The imports of a source as text: `a::b`, `a::b as c`, `a::*`, with a `+` before a re-export.
fn imports(source: &str) -> Vec<String> {
    let text = |import: Import<'_>| {
        let Import { path, name, reexported, .. } = import;
        let sign = if reexported { "+" } else { "" };
        match name {
            "*" => format!("{sign}{}::*", path.join("::")),
            name if path.last() == Some(&name) => format!("{sign}{}", path.join("::")),
            name => format!("{sign}{} as {name}", path.join("::")),
        }
    };
    read(source).imports.into_iter().map(text).collect()
}

/// The paths of a source as text.
fn paths(source: &str) -> Vec<String> {
    read(source).paths.into_iter().map(|path| path.names.join("::")).collect()
}

#[test]
fn use_trees_nest() {
    let source = "use a::{self, b::{C, d::{E, F,}}, g}; use h;";
    assert_eq!(imports(source), ["a", "a::b::C", "a::b::d::E", "a::b::d::F", "a::g", "h"]);
    assert_eq!(imports("use {a::B, super::super::c}; use self::d;"), ["a::B", "super::super::c", "self::d"]);
    assert_eq!(imports("use ::a::{B, c};"), ["::::a::B", "::::a::c"]);
}

#[test]
fn imports_are_renamed() {
    assert_eq!(imports("use a::{b as c, D as _, self as e};"), ["a::b as c", "a::D as _", "a as e"]);
}

#[test]
fn globs_name_their_module() {
    assert_eq!(imports("use a::*; pub use b::{c::*, *};"), ["a::*", "+b::c::*", "+b::*"]);
}

#[test]
fn a_visibility_makes_a_reexport() {
    let source =
        "pub use a::B; pub(crate) use c::D; pub(super) use e::F; pub(in crate::g) use h::I; use j::K;";
    assert_eq!(imports(source), ["+a::B", "+c::D", "+e::F", "+h::I", "j::K"]);
}

#[test]
fn a_visibility_is_no_path() {
    assert_eq!(paths("pub(in crate::a::b) fn c() {} pub(super) struct D;"), [""; 0]);
    assert_eq!(paths("struct A(pub (crate::b::C, u8), pub(crate) d::E);"), ["crate::b::C", "d::E"]);
}

#[test]
fn paths_are_found_wherever_they_are_written() {
    let source = "fn f<T: crate::a::B>(x: &'static super::C) -> Vec<d::E> {
        let _ = self::f::<g::H>(x) as i::J; k::L! {}
    }";
    assert_eq!(
        paths(source),
        ["T", "crate::a::B", "super::C", "Vec", "d::E", "self::f", "g::H", "i::J", "k::L"]
    );
    assert_eq!(paths("#[derive(a::B)] struct C;"), ["derive", "a::B"]);
    assert_eq!(paths("const A: &str = \"b::C\"; // d::E"), [""; 0]);
}

#[test]
fn single_names_are_found_where_they_may_stand_for_items() {
    assert_eq!(paths("let a: B = c(d)?; e! {} if f != g {}"), ["B", "c", "e"]);
    assert_eq!(paths("a.B(); a.c(); ..D; 0..E"), ["D", "E"]);
}

#[test]
fn names_after_a_leading_colon_belong_to_others() {
    assert_eq!(paths("::std::mem::take(x); <T as a::B>::new(); <T>::C;"), ["T", "a::B", "T"]);
}

#[test]
fn a_captured_lifetime_is_no_import() {
    assert_eq!(imports("fn f<'a>(a: &'a str) -> impl Sized + use<'a> { a }"), [""; 0]);
}

#[test]
fn imports_inside_functions_count() {
    assert_eq!(imports("fn f() { use a::B; if c { use d::E; } }"), ["a::B", "d::E"]);
}

#[test]
fn modules_are_inline_or_in_files() {
    let source = "mod a; pub(crate) mod b; mod c { use super::D; mod e { f::G } } mod h { } use i::J;";
    let module = read(source);
    let inline = |name| module.children[name].as_ref();
    assert!(inline("a").is_none() && inline("b").is_none() && inline("h").is_some());
    let c = inline("c").expect("`c` is inline");
    assert_eq!(c.imports[0].path, ["super", "D"]);
    assert_eq!(c.children["e"].as_ref().expect("`e` is inline").paths[0].names, ["f", "G"]);
    assert_eq!((module.imports.len(), module.paths.len()), (1, 0));
}

#[test]
fn a_module_knows_its_items() {
    let source =
        "pub struct A { x: X } enum B {} const C: u8 = 0; const fn d() { fn inner() {} } async fn e() {}
        impl A { fn method() {} } macro_rules! f { () => {} } type G = *const H;
        static I: fn(J) = k; trait L {}";
    assert_eq!(read(source).items, BTreeSet::from(["A", "B", "C", "d", "e", "f", "G", "I", "L"]));
}

#[test]
fn what_only_tests_compile_is_left_out() {
    for skipped in [
        "#[cfg(test)] mod tests { use super::*; fn f() { a::B } }",
        "#[cfg(test)] mod tests;",
        "#[cfg(test)] #[path = \"x.rs\"] pub(crate) mod tests;",
        "#[doc = \"x\"] #[cfg(test)] use a::{B, c::{D}};",
        "#[cfg(test)] pub(super) fn f<A, B>(a: a::B) -> [c::D; 2] where A: e::F { g::H }",
        "#[cfg(test)] impl<A, B> a::C for d::E<A, B> { fn f() {} }",
        "#[cfg(test)] const A: a::B = a::B { c: d::E };",
        "#[cfg(test)] const fn f() { a::B }",
        "#[cfg(test)] struct A(a::B, c::D);",
        "#[cfg(all(test, unix))] use a::B;",
        "#[cfg(any(test, all(unix, test)))] use a::B;",
        "#[cfg(test)] macro_rules! m { () => { a::B } }",
        "#![cfg(test)] use a::B; fn f() { c::D }",
    ] {
        let module = read(skipped);
        assert!(module.imports.is_empty() && module.paths.is_empty(), "{skipped}: {module:?}");
        assert!(module.children.is_empty(), "{skipped}: {module:?}");
        if !skipped.starts_with("#!") {
            assert_eq!(paths(&format!("{skipped} fn f() {{ next::One }}")), ["next::One"], "{skipped}");
        }
    }
    for kept in [
        "#[cfg(any(test, feature = \"testing\"))] use a::B;",
        "#[cfg(not(test))] use a::B;",
        "#[cfg(feature = \"test\")] use a::B;",
        "#[cfg_attr(test, derive(C))] use a::B;",
        "#[cfg(unix)] use a::B;",
    ] {
        assert_eq!(imports(kept), ["a::B"], "{kept}");
    }
}

#[test]
fn fields_and_statements_for_tests_only_are_left_out() {
    assert_eq!(paths("struct A { #[cfg(test)] b: c::D, e: f::G }"), ["f::G"]);
    assert_eq!(paths("struct A { e: f::G, #[cfg(test)] b: c::D } type H = i::J;"), ["f::G", "i::J"]);
    assert_eq!(paths("fn a() { #[cfg(test)] b::c(d, e); f::g(); }"), ["f::g"]);
    assert_eq!(paths("fn a() { #[cfg(test)] let b = C { d: e::F }; f::g(); }"), ["f::g"]);
    assert_eq!(paths("match a { #[cfg(test)] b::C => { d::E } f::G => {} }"), ["f::G"]);
}

#[test]
fn macros_are_read_and_unbalanced_sources_end() {
    assert_eq!(paths("macro_rules! a { ($b:ty) => { mod $b; $crate::c::D } }"), ["crate::c::D"]);
    for odd in
        ["use a::{b", "use", "mod", "mod a {", "#[cfg(", "#[cfg(test)]", "pub(in a", "}", "a::", "use a::{,}"]
    {
        read(odd);
    }
}
