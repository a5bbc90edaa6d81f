//! The layers: built in, file, environment and flags, each read on its own terms and merged in that order.

use std::{collections::BTreeMap, path::Path};

use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Override,
    catalogue::{BUILT_IN, CATALOGUE, Kind, join},
    problem::{Origin, Place, Problem},
};

/// What every variable of ours begins with.
pub(super) const VARIABLE_PREFIX: &str = "WHARF__";

/// The values that one layer sets.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    values: BTreeMap<String, (ValueKind, Origin)>,
}

impl Layer {
    /// A layer of values that are known already.
    pub(super) fn of(values: impl IntoIterator<Item = (String, (ValueKind, Origin))>) -> Self {
        Self { values: values.into_iter().collect() }
    }

    /// The keys for which a layer above says something else.
    pub(super) fn overridden(&self, merged: &Merged) -> Vec<(String, Origin)> {
        let wins = |(key, (kind, origin)): (&String, &(ValueKind, Origin))| {
            let winner = merged.origins.get(key).filter(|winner| *winner != origin)?;
            let value = merged.values.get::<Value>(key).ok()?;
            (value.kind != *kind).then(|| (key.clone(), winner.clone()))
        };
        self.values.iter().filter_map(wins).collect()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let value = |(kind, origin): &(ValueKind, Origin)| Value::new(Some(&origin.to_string()), kind.clone());
        Ok(self.values.iter().map(|(key, entry)| (key.clone(), value(entry))).collect())
    }
}

/// The merged values, and where each came from.
pub(super) struct Merged {
    pub(super) values: Config,
    pub(super) origins: BTreeMap<String, Origin>,
}

/// Merges layers, the later ones winning.
pub(super) fn merge(layers: impl IntoIterator<Item = Layer>) -> Result<Merged, ConfigError> {
    let mut builder = Config::builder();
    let mut origins = BTreeMap::new();
    for layer in layers {
        origins.extend(layer.values.iter().map(|(key, (_, origin))| (key.clone(), origin.clone())));
        builder = builder.add_source(layer);
    }
    Ok(Merged { values: builder.build()?, origins })
}

/// The layer below all others.
pub(super) fn built_in(problems: &mut Vec<Problem>) -> Layer {
    let mut layer = file(Path::new("settings.toml"), BUILT_IN, problems);
    for (_, origin) in layer.values.values_mut() {
        *origin = Origin::BuiltIn;
    }
    layer
}

/// Reads a settings file.
pub(super) fn file(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Layer {
    let mut reader = FileReader { path, text, layer: Layer::default(), problems: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => reader.section("", table.get_ref()),
        Err(error) => {
            let offset = error.span().map_or(text.len(), |span| span.start);
            reader.refuse(offset, None, error.message().to_owned());
        }
    }
    reader.problems.sort_by_key(|(offset, _)| *offset);
    problems.extend(reader.problems.into_iter().map(|(_, problem)| problem));
    reader.layer
}

struct FileReader<'a> {
    path: &'a Path,
    text: &'a str,
    layer: Layer,
    problems: Vec<(usize, Problem)>,
}

impl FileReader<'_> {
    fn section(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = join(prefix, name.get_ref());
            match (CATALOGUE.kind(&key), value.get_ref()) {
                (Some(kind), _) => self.entry(key, kind, value),
                (None, DeValue::Table(inner)) if CATALOGUE.is_section(&key) => self.section(&key, inner),
                (None, _) => {
                    let message = CATALOGUE.unknown(&key);
                    self.refuse(name.span().start, Some(key), message);
                }
            }
        }
    }

    fn entry(&mut self, key: String, kind: Kind, value: &Spanned<DeValue<'_>>) {
        let offset = value.span().start;
        match kind.accept(value.get_ref()) {
            Ok(kind) => {
                let origin = self.origin(offset);
                self.layer.values.insert(key, (kind, origin));
            }
            Err(message) => self.refuse(offset, Some(key), message),
        }
    }

    fn refuse(&mut self, offset: usize, key: Option<String>, message: String) {
        let origin = self.origin(offset);
        self.problems.push((offset, Problem { origin, key, message }));
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), place: Some(Place::of(self.text, offset)) }
    }
}

/// Reads the environment. Variables that don't begin with `WHARF__` are not ours.
pub(super) fn environment(variables: impl IntoIterator<Item = (String, String)>, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    // Sorted, so that the same mistakes are always reported in the same order.
    for (variable, text) in variables.into_iter().collect::<BTreeMap<_, _>>() {
        let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
        let known = CATALOGUE.keys().iter().find(|key| key.to_uppercase().replace('.', "__") == name);
        let key = known.cloned().unwrap_or_else(|| name.to_lowercase().replace("__", "."));
        // A name in small letters looks like the key but is none.
        let kind = known.and_then(|key| CATALOGUE.kind(key));
        text_entry(&mut layer, problems, Origin::Environment { variable: variable.clone() }, key, kind, &text);
    }
    layer
}

/// Reads the flags.
pub(super) fn flags(overrides: &[Override], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    for Override { flag, key, value } in overrides {
        let origin = Origin::Flag { flag: flag.clone() };
        if let Some((_, earlier)) = layer.values.get(key) {
            let message = format!("was set already by {earlier}");
            problems.push(Problem { origin, key: Some(key.clone()), message });
            continue;
        }
        text_entry(&mut layer, problems, origin, key.clone(), CATALOGUE.kind(key), value);
    }
    layer
}

fn text_entry(
    layer: &mut Layer,
    problems: &mut Vec<Problem>,
    origin: Origin,
    key: String,
    kind: Option<Kind>,
    text: &str,
) {
    let read = kind.ok_or_else(|| unknown_text(&key)).and_then(|kind| kind.read(text));
    match read {
        Ok(kind) => {
            layer.values.insert(key, (kind, origin));
        }
        Err(message) => problems.push(Problem { origin, key: Some(key), message }),
    }
}

fn unknown_text(key: &str) -> String {
    match CATALOGUE.kind(key) {
        Some(_) => "unknown variable; the names of wharf's variables are written in capitals".to_owned(),
        None => CATALOGUE.unknown(key),
    }
}
