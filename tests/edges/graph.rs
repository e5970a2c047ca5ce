//! Which files of a crate use which, from the paths in them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use crate::syntax::{self, Import, Module};

/// The sources of a repository by path.
pub(crate) type Sources = BTreeMap<String, String>;

/// A crate's modules, without those for tests only.
pub(crate) struct Crate<'a> {
    /// By path from the crate's root, which has the empty path.
    modules: BTreeMap<Vec<&'a str>, Located<'a>>,
}

struct Located<'a> {
    file: String,
    module: Module<'a>,
}

/// One file uses an item of another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Use<'a> {
    pub(crate) from: String,
    /// The first line of the file that names the item.
    pub(crate) line: usize,
    pub(crate) item: &'a str,
    pub(crate) to: String,
}

impl fmt::Display for Use<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, line, item, to } = self;
        match *item {
            "*" => write!(f, "{from}:{line} uses all of {to}"),
            item => write!(f, "{from}:{line} uses {item} of {to}"),
        }
    }
}

/// Where a path leads.
enum Target<'a> {
    Module(Vec<&'a str>),
    /// An item, and the module that defines it.
    Item(Vec<&'a str>, &'a str),
    /// Another crate, or a type's own item.
    Elsewhere,
}

/// A path is followed through at most so many re-exports, because re-exports can form a circle.
const MOST_REEXPORTS: usize = 8;

impl<'a> Crate<'a> {
    /// Reads the crate whose root is this file (`kernel/src/lib.rs`), and follows its `mod` declarations.
    pub(crate) fn read(root: &str, sources: &'a Sources) -> Self {
        let folder = root.rfind('/').map_or("", |slash| &root[..=slash]);
        let mut modules = BTreeMap::new();
        let mut unread = vec![(Vec::new(), root.to_owned(), None)];
        while let Some((names, file, inline)) = unread.pop() {
            let module = inline.or_else(|| sources.get(&file).map(|source| syntax::read(source)));
            let mut module: Module<'_> = module.unwrap_or_else(|| panic!("there is no {file}"));
            for (name, inline) in &mut module.children {
                let names = [&names[..], &[*name]].concat();
                let inline = inline.take();
                let file =
                    if inline.is_some() { file.clone() } else { format!("{folder}{}.rs", names.join("/")) };
                unread.push((names, file, inline));
            }
            modules.insert(names, Located { file, module });
        }
        Self { modules }
    }

    pub(crate) fn files(&self) -> BTreeSet<&str> {
        self.modules.values().map(|located| located.file.as_str()).collect()
    }

    /// All uses between files, one for each pair of files.
    pub(crate) fn uses(&self) -> Vec<Use<'a>> {
        let mut found = BTreeMap::new();
        for (names, Located { file: from, module }) in &self.modules {
            let mut add = |target: Target<'a>, line| {
                let Target::Item(definer, item) = target else { return };
                let to = &self.modules[&definer].file;
                if to != from {
                    let first = found.entry((from, to)).or_insert((line, item));
                    *first = (*first).min((line, item));
                }
            };
            for import in module.imports.iter().filter(|import| !import.reexported) {
                match self.target(names, &import.path, 0) {
                    // Importing a module is no use of its file: the paths that start with it are. If none
                    // does, the text of an attribute names the module.
                    Target::Module(all) if import.name == "*" || !module.starts_paths_with(import.name) => {
                        add(Target::Item(all, import.name), import.line);
                    }
                    target => add(target, import.line),
                }
            }
            for path in &module.paths {
                add(self.target(names, &path.names, 0), path.line);
            }
        }
        let uses = found.into_iter();
        uses.map(|((from, to), (line, item))| Use { from: from.clone(), line, item, to: to.clone() })
            .collect()
    }

    /// Follows a path that is written in a module.
    fn target(&self, module: &[&'a str], path: &[&'a str], reexports: usize) -> Target<'a> {
        let mut names = path.iter().peekable();
        let mut at = module.to_vec();
        while let Some(name) = names.next_if(|name| ["crate", "self", "super"].contains(name)) {
            match *name {
                "crate" => at.clear(),
                "super" => drop(at.pop()),
                _ => {}
            }
        }
        let mut inside = at == module;
        for name in names {
            match self.find(&at, name, inside, reexports) {
                Some(Target::Module(next)) => at = next,
                Some(target) => return target,
                None if inside => return Target::Elsewhere,
                // The other file defines the item by a macro, or imports it for itself.
                None => return Target::Item(at, name),
            }
            inside = false;
        }
        Target::Module(at)
    }

    /// Finds a name in a module. Private imports count only from `inside` the module.
    fn find(&self, module: &[&'a str], name: &'a str, inside: bool, reexports: usize) -> Option<Target<'a>> {
        let child = [module, &[name]].concat();
        if self.modules.contains_key(&child) {
            return Some(Target::Module(child));
        }
        if reexports == MOST_REEXPORTS {
            return None;
        }
        let Module { imports, items, .. } = &self.modules.get(module)?.module;
        let visible = |import: &&Import<'_>| inside || import.reexported;
        // `pub(crate) use name;` gives a macro of the same file to other files.
        let named = |import: &&Import<'_>| import.name == name && import.path != [name];
        if let Some(import) = imports.iter().filter(visible).find(named) {
            return Some(self.target(module, &import.path, reexports + 1));
        }
        if items.contains(name) {
            return Some(Target::Item(module.to_vec(), name));
        }
        let globs = imports.iter().filter(visible).filter(|import| import.name == "*");
        globs.into_iter().find_map(|glob| match self.target(module, &glob.path, reexports + 1) {
            Target::Module(all) => self.find(&all, name, false, reexports + 1),
            _ => None,
        })
    }
}

/// The smallest circles of uses that have no file in common, the smallest first.
pub(crate) fn circles<'u, 'a>(uses: &'u [Use<'a>]) -> Vec<Vec<&'u Use<'a>>> {
    let files: BTreeSet<_> = uses.iter().map(|edge| edge.from.as_str()).collect();
    let mut circles: Vec<_> = files.into_iter().filter_map(|file| smallest_circle(file, uses)).collect();
    circles.sort_by_key(Vec::len);
    let mut taken = BTreeSet::new();
    circles.retain(|circle| {
        let apart = circle.iter().all(|edge| !taken.contains(&edge.from));
        if apart {
            taken.extend(circle.iter().map(|edge| &edge.from));
        }
        apart
    });
    circles
}

/// The fewest uses that lead from a file back to it.
fn smallest_circle<'u, 'a>(file: &'u str, uses: &'u [Use<'a>]) -> Option<Vec<&'u Use<'a>>> {
    let mut ways = BTreeMap::from([(file, Vec::new())]);
    let mut queue = VecDeque::from([file]);
    while let Some(at) = queue.pop_front() {
        for edge in uses.iter().filter(|edge| edge.from == at) {
            let way = [&ways[at][..], &[edge]].concat();
            if edge.to == file {
                return Some(way);
            }
            if !ways.contains_key(edge.to.as_str()) {
                ways.insert(&edge.to, way);
                queue.push_back(&edge.to);
            }
        }
    }
    None
}

/// A repository with these files.
fn repository(files: &[(&str, &str)]) -> Sources {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

/// The uses in a crate of these files, as text.
fn uses(files: &[(&str, &str)]) -> Vec<String> {
    let sources = repository(files);
    Crate::read("src/lib.rs", &sources).uses().iter().map(ToString::to_string).collect()
}

#[test]
fn a_use_leads_to_the_file_that_defines_the_item() {
    let found = uses(&[
        ("src/lib.rs", "mod a; mod b; pub use b::{Renamed as Name, inner};"),
        ("src/a.rs", "use crate::{Name, inner::Deep};\n\nfn f(x: crate::b::inner::Other) {}"),
        ("src/b.rs", "pub mod inner;\nmod hidden;\npub use hidden::Original as Renamed;"),
        ("src/b/hidden.rs", "pub struct Original;"),
        ("src/b/inner.rs", "pub struct Deep; pub struct Other;"),
    ]);
    assert_eq!(
        found,
        ["src/a.rs:1 uses Original of src/b/hidden.rs", "src/a.rs:1 uses Deep of src/b/inner.rs"]
    );
}

#[test]
fn a_parent_that_only_reexports_a_child_does_not_use_it() {
    let child = ("src/a.rs", "pub struct A;");
    assert_eq!(uses(&[("src/lib.rs", "mod a; pub use a::A;"), child]), [""; 0]);
    let parent = "mod a;\npub use a::A;\nfn f() -> A { A }";
    assert_eq!(uses(&[("src/lib.rs", parent), child]), ["src/lib.rs:3 uses A of src/a.rs"]);
}

#[test]
fn an_imported_module_is_a_name_for_it() {
    let found = uses(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "use crate::b;\nfn f() -> b::Inner {}"),
        ("src/b.rs", "mod inner; pub use inner::Inner;"),
        ("src/b/inner.rs", "pub struct Inner;"),
        ("src/c.rs", "use crate::a;\n#[serde(with = \"a::text\")] struct C;"),
    ]);
    assert_eq!(found, ["src/a.rs:2 uses Inner of src/b/inner.rs", "src/c.rs:1 uses a of src/a.rs"]);
}

#[test]
fn globs_are_followed() {
    let found = uses(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "use crate::b::Item;"),
        ("src/b.rs", "pub use crate::c::*; pub use std::fmt::*;"),
        ("src/c.rs", "use super::b::*; pub struct Item;"),
    ]);
    assert_eq!(found, ["src/a.rs:1 uses Item of src/c.rs", "src/c.rs:1 uses all of src/b.rs"]);
}

#[test]
fn an_inline_module_is_a_part_of_its_file() {
    let found = uses(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "mod inner { use super::super::b::B; pub use super::A; } struct A; use inner::A as C;"),
        ("src/b.rs", "pub struct B;"),
    ]);
    assert_eq!(found, ["src/a.rs:1 uses B of src/b.rs"]);
}

#[test]
fn another_crates_items_are_no_use() {
    let found = uses(&[
        ("src/lib.rs", "mod a; mod b; pub use serde::Serialize;"),
        (
            "src/a.rs",
            "use crate::Serialize; use b::Other; use std::mem; fn f() { mem::take(x); ::b::g(); Self::h() }",
        ),
        ("src/b.rs", ""),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn what_a_file_imports_for_itself_is_its_own() {
    let found = uses(&[("src/lib.rs", "mod a; use std::mem;"), ("src/a.rs", "use super::mem;")]);
    assert_eq!(found, ["src/a.rs:1 uses mem of src/lib.rs"]);
}

#[test]
fn a_circle_of_reexports_ends() {
    let found = uses(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "pub use crate::b::X; pub use crate::b::*; pub use super::b::*;"),
        ("src/b.rs", "pub use crate::a::X; pub use crate::a::*; pub use super::a::*;"),
        ("src/c.rs", "use crate::a::{X, Y}; pub(crate) use m; macro_rules! m {} fn f() { m!() }"),
    ]);
    assert!(found.len() <= 2, "{found:?}");
}

#[test]
fn files_for_tests_only_are_not_read() {
    let sources = repository(&[
        ("src/lib.rs", "mod a; #[cfg(test)] mod tests;"),
        ("src/a.rs", "#[cfg(test)] mod helper;"),
        ("src/a/helper.rs", "use crate::a::A;"),
        ("src/tests.rs", "use super::*;"),
    ]);
    assert_eq!(Crate::read("src/lib.rs", &sources).files(), BTreeSet::from(["src/a.rs", "src/lib.rs"]));
}

#[test]
fn the_smallest_circles_are_found() {
    let edge = |(from, to): &(&str, &str)| Use {
        from: (*from).to_owned(),
        line: 1,
        item: "X",
        to: (*to).to_owned(),
    };
    let circles_of = |edges: &[(&str, &str)]| -> Vec<String> {
        let uses: Vec<_> = edges.iter().map(edge).collect();
        circles(&uses).iter().map(|circle| circle.iter().map(|edge| edge.from.as_str()).collect()).collect()
    };
    assert_eq!(circles_of(&[("a", "b"), ("b", "c"), ("a", "c")]), [""; 0]);
    assert_eq!(circles_of(&[("a", "b"), ("b", "c"), ("c", "a")]), ["abc"]);
    assert_eq!(circles_of(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "b")]), ["bc"]);
    let two = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e"), ("e", "d")];
    assert_eq!(circles_of(&two), ["de", "abc"]);
}
