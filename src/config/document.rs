//! What the configuration type says about itself: its settings in their order, each with its
//! documentation, its kind and its default.

use schemars::{Schema, generate::SchemaSettings};
use serde_json::Value;

use super::Config;

/// How a setting is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Text,
    Number,
    Switch,
    List,
    /// A list of tables.
    Tables,
    /// A table whose keys the administrator chooses.
    Map,
    /// Not a setting: a section, or nothing of that name.
    Other,
}

/// Settings under one heading of the file.
#[derive(Debug)]
pub(super) struct Section {
    /// Empty for the settings before the first heading.
    pub(super) path: String,
    pub(super) documentation: String,
    pub(super) kind: Kind,
    pub(super) settings: Vec<Setting>,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: String,
    /// With the names of the sections around it, separated by dots.
    pub(super) path: String,
    pub(super) documentation: String,
    pub(super) kind: Kind,
    /// As it is written in the file.
    pub(super) default: String,
    /// What may be written, where that is a short list.
    pub(super) choices: Vec<String>,
}

/// All settings. The order is that of the type's fields, which the serialised default keeps; the
/// documentation is that of the schema, which has no order.
pub(super) fn sections() -> Vec<Section> {
    let schema = schema();
    let mut sections = vec![section(&schema, String::new())];
    for line in toml::to_string(&Config::default()).unwrap_or_default().lines() {
        if let Some(path) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push(section(&schema, path.to_owned()));
        } else if let Some((name, default)) = line.split_once(" = ")
            && let Some(section) = sections.last_mut()
        {
            let setting = setting(&schema, &section.path, name, default);
            section.settings.push(setting);
        }
    }
    sections
}

/// The kind of the setting at this path.
pub(super) fn kind_of(path: &[String]) -> Kind {
    find(&schema(), path).map_or(Kind::Other, kind)
}

fn schema() -> Schema {
    SchemaSettings::default()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<Config>()
}

fn section(schema: &Schema, path: String) -> Section {
    let found = find(schema, path.split('.').filter(|key| !key.is_empty()));
    Section {
        documentation: found.map(documentation).unwrap_or_default(),
        kind: found.map_or(Kind::Other, kind),
        settings: Vec::new(),
        path,
    }
}

fn setting(schema: &Schema, section: &str, name: &str, default: &str) -> Setting {
    let path = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
    let found = find(schema, path.split('.'));
    Setting {
        name: name.to_owned(),
        documentation: found.map(documentation).unwrap_or_default(),
        kind: found.map_or(Kind::Other, kind),
        default: default.to_owned(),
        choices: found.map(choices).unwrap_or_default(),
        path,
    }
}

fn find(schema: &Schema, path: impl IntoIterator<Item = impl AsRef<str>>) -> Option<&Value> {
    path.into_iter()
        .try_fold(schema.as_value(), |found, key| found.get("properties")?.get(key.as_ref()))
}

fn kind(schema: &Value) -> Kind {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => Kind::Text,
        Some("integer") => Kind::Number,
        Some("boolean") => Kind::Switch,
        Some("array") if schema.pointer("/items/properties").is_some() => Kind::Tables,
        Some("array") => Kind::List,
        Some("object") if schema.get("properties").is_none() => Kind::Map,
        None if schema.get("oneOf").is_some() => Kind::Text,
        _ => Kind::Other,
    }
}

fn documentation(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn choices(schema: &Value) -> Vec<String> {
    let variants = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    variants.filter_map(|variant| Some(variant.get("const")?.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_and_setting_is_documented_and_has_a_kind() {
        for section in sections().iter().skip(1) {
            assert!(!section.documentation.is_empty(), "{section:?}");
            for setting in &section.settings {
                assert!(!setting.documentation.is_empty(), "{setting:?}");
                assert_ne!(setting.kind, Kind::Other, "{setting:?}");
            }
        }
    }

    /// What the serialised default leaves out would be missing in every document.
    #[test]
    fn every_field_of_the_type_is_found() {
        fn leaves(schema: &Value, path: &str, found: &mut Vec<String>) {
            for (name, inner) in schema.get("properties").and_then(Value::as_object).unwrap() {
                let path = format!("{path}{name}");
                match kind(inner) {
                    Kind::Other => leaves(inner, &format!("{path}."), found),
                    _ => found.push(path),
                }
            }
        }
        let mut in_schema = Vec::new();
        leaves(schema().as_value(), "", &mut in_schema);
        let mut in_sections: Vec<String> = sections()
            .iter()
            .flat_map(|section| {
                let map = (section.kind == Kind::Map).then(|| section.path.clone());
                section.settings.iter().map(|setting| setting.path.clone()).chain(map)
            })
            .collect();
        in_schema.sort();
        in_sections.sort();
        assert_eq!(in_schema, in_sections);
        assert!(in_schema.len() > 20);
    }

    #[test]
    fn enumerations_list_their_choices() {
        let sections = sections();
        let settings = sections.iter().flat_map(|section| &section.settings);
        let mode = settings.into_iter().find(|setting| setting.path == "registration.mode");
        assert_eq!(mode.unwrap().choices, ["closed", "token", "open"]);
    }
}
