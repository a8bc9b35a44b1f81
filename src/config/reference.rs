//! `docs/configuration.md`, made from the configuration type.

use super::{
    document::{self, Kind, Section, Setting},
    load::ENVIRONMENT_PREFIX,
};

const INTRODUCTION: &str = "\
# Configuration

Starling works without a configuration file. `starling serve --config FILE` reads one in TOML;
`starling config example` prints one with every setting, and `starling config check` says whether
one is right. Every setting can also be given by the environment variable named with it, which wins
over the file: its value is written as in the file, but texts need no quotes and the items of a list
may stand between commas. A setting that does not exist is an error, in the file and in the
environment. An empty text is the same as no text.

This page is generated from the types in `src/config/`; a test fails when it differs.
";

/// The page of documentation on all settings.
#[cfg_attr(not(test), expect(dead_code, reason = "the page is written and checked by a test"))]
pub(super) fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    for section in document::sections() {
        write_section(&mut out, &section);
    }
    out
}

fn write_section(out: &mut String, section: &Section) {
    if !section.path.is_empty() {
        out.push_str(&format!("\n## `[{}]`\n\n{}\n", section.path, section.documentation));
    }
    if section.kind == Kind::Map {
        out.push_str(&format!("\n* Environment: `{}`\n", environment_variable(&section.path)));
        out.push_str("* Default: empty\n");
    }
    for setting in &section.settings {
        write_setting(out, setting);
    }
}

fn write_setting(out: &mut String, setting: &Setting) {
    out.push_str(&format!("\n### `{}`\n\n{}\n\n", setting.path, setting.documentation));
    out.push_str(&format!("* Environment: `{}`\n", environment_variable(&setting.path)));
    out.push_str(&format!("* {}\n", written_as(setting)));
    out.push_str(&format!("* Default: `{}`\n", setting.default));
}

fn environment_variable(path: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", path.replace('.', "__").to_uppercase())
}

fn written_as(setting: &Setting) -> String {
    match setting.kind {
        Kind::Text if !setting.choices.is_empty() => {
            let choices = setting.choices.iter().map(|choice| format!("`\"{choice}\"`"));
            format!("One of: {}", choices.collect::<Vec<_>>().join(", "))
        }
        Kind::Text => "Type: text".to_owned(),
        Kind::Number => "Type: whole number".to_owned(),
        Kind::Switch => "Type: `true` or `false`".to_owned(),
        Kind::List => "Type: list of texts".to_owned(),
        Kind::Tables => "Type: list of tables".to_owned(),
        Kind::Map | Kind::Other => "Type: table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    /// `STARLING_WRITE_DOCS=1 cargo test -p starling configuration_page` writes the page anew.
    #[test]
    fn the_configuration_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        if env::var_os("STARLING_WRITE_DOCS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, reference()).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap();
        assert!(committed == reference(), "docs/configuration.md is not what the type says");
    }
}
