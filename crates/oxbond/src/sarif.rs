//! SARIF 2.1.0: findings in the form that code hosts and editors show beside the lines.

use oxbond_config::diagnostic::{Place, PlainDiagnostic, Severity};
use oxbond_config::rule::RULES;
use serde_json::{Value, json};

/// The document, with all rules and these findings.
pub(crate) fn sarif(findings: &[PlainDiagnostic]) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.code,
                "shortDescription": { "text": rule.title },
                "fullDescription": { "text": rule.why },
                "help": { "text": rule.why },
                "defaultConfiguration": { "level": level(rule.severity) },
            })
        })
        .collect();
    let results: Vec<Value> = findings.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "oxbond",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn result(finding: &PlainDiagnostic) -> Value {
    let text = match &finding.help {
        Some(help) => format!("{}; {help}", finding.message),
        None => finding.message.clone(),
    };
    let locations: Vec<Value> = finding.place.iter().map(location).collect();
    let mut result = json!({
        "ruleId": finding.code,
        "ruleIndex": finding.code as usize,
        "level": level(finding.severity),
        "message": { "text": text },
        "locations": locations,
    });
    if let Some(related) = &finding.related {
        let mut place = location(&related.place);
        place["message"] = json!({ "text": related.what });
        result["relatedLocations"] = json!([place]);
    }
    if let Some(fix) = &finding.fix {
        result["fixes"] = json!([{
            "description": { "text": "write what is meant" },
            "artifactChanges": [{
                "artifactLocation": artifact(&fix.place),
                "replacements": [{
                    "deletedRegion": region(&fix.place),
                    "insertedContent": { "text": fix.replacement },
                }],
            }],
        }]);
    }
    result
}

fn location(place: &Place) -> Value {
    json!({ "physicalLocation": { "artifactLocation": artifact(place), "region": region(place) } })
}

fn artifact(place: &Place) -> Value {
    let mut uri = String::new();
    if place.file.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in place.file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    json!({ "uri": uri })
}

fn region(place: &Place) -> Value {
    json!({
        "startLine": place.start.line,
        "startColumn": place.start.column,
        "endLine": place.end.line,
        "endColumn": place.end.column,
    })
}

#[cfg(test)]
mod tests {
    use oxbond_config::detect::Gathered;
    use oxbond_config::lint::{Facts, lint};

    use super::*;

    /// What the schema of SARIF 2.1.0 requires, and what a reader needs to show a finding.
    #[test]
    fn the_document_has_what_the_schema_requires() {
        let mut gathered = Gathered::default();
        let netdev =
            "[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMode=1\nMode=802.3ad\nMIIMonitorSec=100\n";
        gathered.add("/etc/systemd/network/a b.netdev", netdev.to_owned(), None);
        let found = lint(&gathered.sources, &gathered.dialects, &Facts::default());
        let plain: Vec<PlainDiagnostic> = found
            .iter()
            .map(|finding| finding.plain(&gathered.sources))
            .collect();
        let text = serde_json::to_string(&sarif(&plain)).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();

        assert_eq!(document["version"], "2.1.0");
        let run = &document["runs"][0];
        assert!(run["tool"]["driver"]["name"].is_string());
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert!(rules.iter().all(|rule| {
            rule["id"].is_string() && rule["shortDescription"]["text"].is_string()
        }));
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), found.len());
        for result in results {
            assert!(result["message"]["text"].is_string());
            let level = result["level"].as_str().unwrap();
            assert!(["error", "warning", "note"].contains(&level), "{level}");
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(
                place["artifactLocation"]["uri"],
                "file:///etc/systemd/network/a%20b.netdev"
            );
            assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
        }
        let of = |code: &str| {
            let mut all = results.iter();
            all.find(|result| result["ruleId"] == code)
                .unwrap_or_else(|| panic!("{code}: {results:#?}"))
        };
        let change = &of("seconds-for-milliseconds")["fixes"][0]["artifactChanges"][0];
        let replacement = &change["replacements"][0];
        assert_eq!(
            replacement["insertedContent"]["text"],
            "MIIMonitorSec=100ms"
        );
        assert_eq!(replacement["deletedRegion"]["startLine"], 7);
        assert_eq!(of("seconds-for-milliseconds")["level"], "error");
        assert_eq!(of("made-up-mac")["level"], "note");
    }
}
