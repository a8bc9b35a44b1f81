//! The configuration file with every setting, its documentation and its default.

use super::document::{self, Section, Setting};

/// A file in which every setting is commented out with its default, so that a copy pins nothing.
pub(crate) fn example() -> String {
    let mut out = String::from(
        "# The configuration of Starling. Every setting stands here with its default; remove the `#`\n\
         # in front of what you change. Environment variables win over this file: `[client] listen`\n\
         # is STARLING__CLIENT__LISTEN.\n",
    );
    for section in document::sections() {
        write_section(&mut out, &section);
    }
    out
}

fn write_section(out: &mut String, section: &Section) {
    if !section.path.is_empty() {
        out.push('\n');
        write_comment(out, &section.documentation);
        out.push_str(&format!("[{}]\n", section.path));
    }
    for setting in &section.settings {
        write_setting(out, setting);
    }
}

fn write_setting(out: &mut String, setting: &Setting) {
    out.push('\n');
    write_comment(out, &setting.documentation);
    out.push_str(&format!("#{} = {}\n", setting.name, setting.default));
}

fn write_comment(out: &mut String, text: &str) {
    for line in text.lines() {
        out.push_str(format!("# {line}").trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Config, load};

    fn settings_of(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        toml::to_string(&load(Some(file.path()), []).unwrap()).unwrap()
    }

    #[test]
    fn the_example_and_the_example_uncommented_are_the_defaults() {
        let defaults = toml::to_string(&Config::default()).unwrap();
        assert_eq!(settings_of(&example()), defaults);
        let uncommented: Vec<String> = example()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
                _ => line.to_owned(),
            })
            .collect();
        assert!(uncommented.iter().filter(|line| line.contains(" = ")).count() > 20);
        assert_eq!(settings_of(&uncommented.join("\n")), defaults);
    }
}
