//! The costs of several kinds of server beside each other.

use std::fmt::Write as _;

use super::{Cost, Row};
use crate::{bench::federation::title, servers::Kind};

/// A line for each row: what it costs each kind of server, how many times as much the second, and whether
/// Starling stays within what it may use.
pub(super) fn of(rows: &[Row], kinds: &[Kind], costs: &[Vec<Option<Cost>>]) -> String {
    let beside = costs.iter().flatten().flatten().any(|cost| cost.database > 0.0);
    let mut text = "\n| One |".to_owned();
    let mut line = "\n| --- |".to_owned();
    let mut column = |name: &str| {
        text.push_str(&format!(" {name} |"));
        line.push_str(" --: |");
    };
    for kind in kinds {
        column(title(*kind));
        if beside {
            column(&format!("{}'s database", title(*kind)));
        }
    }
    if kinds.len() == 2 {
        column("Ratio");
    }
    column("At most");
    column("Met");
    let mut text = format!("{text}{line}\n");
    for (index, row) in rows.iter().enumerate() {
        let here: Vec<_> =
            costs.iter().map(|of_kind| of_kind.get(index).copied().flatten()).collect();
        text.push_str(&format!("| {}, {} |", row.name, row.unit));
        for cost in &here {
            text.push_str(&format!(" {} |", shown(cost.map(|cost| cost.server))));
            if beside {
                text.push_str(&format!(" {} |", shown(cost.map(|cost| cost.database))));
            }
        }
        if let [one, other] = here.as_slice() {
            text.push_str(&format!(" {} |", ratio(*one, *other)));
        }
        let starling = kinds.iter().position(|&kind| kind == Kind::Starling);
        let ours = starling.and_then(|place| here.get(place).copied().flatten());
        // Writing to a string cannot fail.
        let _ = writeln!(text, " {} | {} |", row.bar, met(row, ours));
    }
    text
}

fn met(row: &Row, cost: Option<Cost>) -> &'static str {
    match cost {
        None => "",
        Some(cost) if cost.server <= row.bar => "yes",
        Some(_) => "no",
    }
}

fn ratio(one: Option<Cost>, other: Option<Cost>) -> String {
    let both = one.zip(other).filter(|(one, _)| one.server > 0.0);
    both.map_or_else(String::new, |(one, other)| format!("{:.1}", other.server / one.server))
}

/// With three digits, as far as they mean something.
fn shown(value: Option<f64>) -> String {
    match value {
        None => "failed".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) if value >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::costs::rows::What;

    #[test]
    fn kinds_stand_beside_each_other_and_what_may_be() {
        let row = |name| Row { name, unit: "ms", bar: 0.5, what: What::Federation };
        let cost = |server| Some(Cost { server, database: 0.0, count: 7 });
        let rows = [row("message"), row("join"), row("page")];
        let costs = [vec![cost(0.25), cost(1.0), None], vec![cost(20.0), cost(22.0), cost(123.4)]];
        let table = of(&rows, &[Kind::Starling, Kind::Synapse], &costs);
        let lines: Vec<&str> = table.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "| One | Starling | Synapse | Ratio | At most | Met |",
                "| --- | --: | --: | --: | --: | --: |",
                "| message, ms | 0.250 | 20.0 | 80.0 | 0.5 | yes |",
                "| join, ms | 1.00 | 22.0 | 22.0 | 0.5 | no |",
                "| page, ms | failed | 123 |  | 0.5 |  |",
            ]
        );
    }

    #[test]
    fn what_the_database_uses_has_a_column_where_it_is_known() {
        let rows = [Row { name: "message", unit: "ms", bar: 0.5, what: What::Federation }];
        let costs = [vec![Some(Cost { server: 0.25, database: 0.125, count: 7 })]];
        let table = of(&rows, &[Kind::Starling], &costs);
        assert!(table.contains("| message, ms | 0.250 | 0.125 | 0.5 | yes |"), "{table}");
    }
}
