//! Reads the sources as far as the house rules need it: code without comments and text, the paths it names, and what
//! of it is for tests only.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A file of the tree.
pub(crate) struct Source {
    /// Relative to the root, with slashes.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The text without comments and literals.
    pub(crate) code: String,
    /// Compiled for tests only.
    pub(crate) is_test: bool,
}

impl Source {
    /// The part in front of the tests within the file. All of a test's file is test.
    pub(crate) fn product(&self) -> &str {
        if self.is_test { "" } else { before_tests(&self.code) }
    }

    /// The part for tests.
    pub(crate) fn tests(&self) -> &str {
        &self.code[self.product().len()..]
    }

    /// How many lines the product has.
    pub(crate) fn product_lines(&self) -> usize {
        if self.is_test { 0 } else { before_tests(&self.text).lines().count() }
    }

    /// The module that the file is, from the name of its crate on.
    pub(crate) fn module(&self) -> String {
        module_of(&self.name)
    }

    /// The paths that the product names, in full from the crate's own name, or another crate's, on.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let module = module_of(&self.name);
        paths(self.product()).into_iter().map(|path| resolve(&module, &path)).collect()
    }
}

fn before_tests(text: &str) -> &str {
    let marks = text.match_indices("#[cfg(test)]\nmod ");
    let is_inline = |at: &usize| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{'));
    marks.map(|(at, _)| at).find(is_inline).map_or(text, |start| &text[..start])
}

/// All files below the root that end so, but for build products and what git does not show.
fn files(root: &Path, directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of the tree") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !matches!(&*name, "target" | "node_modules") {
            files(root, &path, found);
        } else if name.ends_with(".rs") {
            found.push(path.strip_prefix(root).expect("a path below the root").to_owned());
        }
    }
}

/// The sources of the whole workspace.
pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(root, root, &mut found);
    found.sort();
    assert!(found.len() > 50, "the tree was not found below {}", root.display());
    let mut sources: Vec<Source> = found
        .iter()
        .map(|path| {
            let text = fs::read_to_string(root.join(path)).expect("a source in UTF-8");
            let name = path.to_string_lossy().replace('\\', "/");
            let is_test = name.starts_with("tests/") || name.contains("/tests/");
            Source { code: code(&text), name, text, is_test }
        })
        .collect();
    let tests: Vec<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let stem = source.name.trim_end_matches(".rs");
        source.is_test |= tests.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/")));
    }
    sources
}

/// The files, without their ending, that this file has as modules for tests.
fn test_modules(source: &Source) -> Vec<String> {
    let stem = source.name.trim_end_matches(".rs");
    let directory = match stem.rsplit_once('/') {
        Some((directory, "lib" | "main")) => directory,
        _ => stem,
    };
    let mut lines = source.code.lines().map(str::trim).peekable();
    let mut modules = Vec::new();
    while let Some(line) = lines.next() {
        let module = lines.peek().and_then(|next| next.strip_suffix(';')).and_then(|next| next.strip_prefix("mod "));
        if line == "#[cfg(test)]"
            && let Some(module) = module
        {
            modules.push(format!("{directory}/{module}"));
        }
    }
    modules
}

/// The text with everything blanked that is no code: comments, text, letters.
pub(crate) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_text(rest, &code) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if first == '"' {
            quoted(rest)
        } else if first == '\'' {
            letter(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().filter(|letter| *letter == '\n'));
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    // A blanked comment must not move what follows it away from the line above.
    code.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

/// The number of hashes of raw text that starts here.
fn raw_text(rest: &str, before: &str) -> Option<usize> {
    let tail = rest.strip_prefix('r')?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    let begins_word = !before.ends_with(|letter: char| letter.is_alphanumeric() && letter != 'b' || letter == '_');
    (begins_word && tail[hashes..].starts_with('"')).then_some(hashes)
}

/// The length of the quoted text that starts here.
fn quoted(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of the quoted letter that starts here; 0 for a lifetime.
fn letter(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => {
            letters.next();
            letters.find(|(_, letter)| *letter == '\'').map_or(0, |(at, _)| at + 1)
        }
        _ => letters.next().filter(|(_, letter)| *letter == '\'').map_or(0, |(at, _)| at + 1),
    }
}

/// All paths of more than one part that the code names, those of `use` unfolded.
pub(crate) fn paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = code.to_owned();
    while let Some(start) = find_use(&rest) {
        let end = rest[start..].find(';').map_or(rest.len(), |end| start + end);
        unfold("", &rest[start + 4..end], &mut found);
        rest.replace_range(start..end, "");
    }
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | ':');
    for word in rest.split(|letter| !is_part(letter)) {
        let word = word.trim_matches(':');
        if word.contains("::") {
            found.insert(word.to_owned());
        }
    }
    found
}

/// Where a `use` stands at the start of an item, however it is shown to others.
fn find_use(code: &str) -> Option<usize> {
    code.match_indices("use ").map(|(at, _)| at).find(|at| {
        let before = code[..*at].trim_end();
        before.is_empty() || before.ends_with([';', '}', '{', ']', ')']) || before.ends_with("pub")
    })
}

fn unfold(prefix: &str, tree: &str, found: &mut BTreeSet<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        found.insert(format!("{prefix}{path}"));
        return;
    };
    let prefix = format!("{prefix}{}", tree[..open].trim());
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    unfold(&prefix, &inner[start..at], found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The module that a file is, from the name of its crate on.
fn module_of(name: &str) -> String {
    let (root, rest) = match name.split_once("src/") {
        Some(("", rest)) => ("wharf", rest),
        Some(("actors/", rest)) => ("wharf_actors", rest),
        _ => return name.trim_end_matches(".rs").to_owned(),
    };
    match rest.trim_end_matches(".rs") {
        "lib" | "main" => root.to_owned(),
        inner => format!("{root}::{}", inner.replace('/', "::")),
    }
}

fn resolve(module: &str, path: &str) -> String {
    let crate_name = module.split("::").next().unwrap_or_default();
    if let Some(rest) = path.strip_prefix("crate::") {
        return format!("{crate_name}::{rest}");
    }
    let (mut module, mut path) = (module.to_owned(), path);
    let mut relative = false;
    loop {
        if let Some(rest) = path.strip_prefix("self::") {
            path = rest;
        } else if let Some(rest) = path.strip_prefix("super::") {
            module.truncate(module.rfind("::").unwrap_or(0));
            path = rest;
        } else {
            return if relative { format!("{module}::{path}") } else { path.to_owned() };
        }
        relative = true;
    }
}

#[test]
fn code_is_told_from_text() {
    let text = "a // b\nc /* d\ne */ f \"g \\\" h\" r#\"i \" j\"# '\\'' 'k' <'l> m!(\"n\")\n";
    assert_eq!(code(text), "a\nc\n  f         <'l> m!( )\n");
}

#[test]
fn paths_are_unfolded_and_resolved() {
    let code = "pub(crate) use super::{a::{B, c as d}, E};\nuse std::fs;\nfn f() -> crate::g::H { i::j(); k }";
    let found: Vec<_> = paths(code).iter().map(|path| resolve("wharf::x::y", path)).collect();
    assert_eq!(found, ["wharf::g::H", "i::j", "std::fs", "wharf::x::E", "wharf::x::a::B", "wharf::x::a::c"]);
    assert_eq!(module_of("actors/src/upload/state.rs"), "wharf_actors::upload::state");
}
