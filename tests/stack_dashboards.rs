//! The dashboards hold together: every query parses and reads only what the catalogue has, every instrument is on some
//! panel, and what only a running Grafana would show has been thought of.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "stack/dashboards.rs"]
mod dashboards;
#[path = "stack/promql.rs"]
mod promql;

use std::collections::{BTreeMap, BTreeSet};

use dashboards::{Dashboard, Panel, alert_levels, all};
use serde_json::{Value, json};
use trading_telemetry::metrics::catalog::CATALOG;

fn panels(dashboards: &[Dashboard]) -> impl Iterator<Item = &Panel> {
    dashboards.iter().flat_map(|dashboard| &dashboard.panels)
}

#[test]
fn every_query_parses_and_reads_what_the_catalogue_has() {
    let mut problems = Vec::new();
    for panel in panels(&all()) {
        for (query, legend) in panel.queries() {
            let found = promql::check(query, legend);
            problems.extend(
                found.problems.iter().map(|problem| format!("{}: {problem}\n    {query}", panel.name())),
            );
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The committed rules of Prometheus: name, expression, and the texts that people read.
fn rules() -> Vec<(Value, String, String)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules/trading-telemetry.yml");
    let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let groups = file["groups"].as_array().unwrap().iter();
    groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .map(|rule| {
            (rule.clone(), rule["expr"].as_str().unwrap().to_owned(), rule["annotations"].to_string())
        })
        .collect()
}

#[test]
fn every_rule_parses_and_reads_what_the_catalogue_has() {
    let mut recorded = promql::Recorded::new();
    let mut problems = Vec::new();
    for (rule, expression, texts) in rules() {
        let found = promql::check_rule(&expression, &texts, &recorded);
        problems.extend(found.problems.iter().map(|problem| format!("{problem}\n    {expression}")));
        if let Some(name) = rule["record"].as_str() {
            recorded.insert(name.to_owned(), found.labels);
        }
    }
    assert!(recorded.len() > 5);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_rule_that_is_wrong_is_found() {
    let recorded = promql::Recorded::from([("trading_rule:pdt".to_owned(), BTreeSet::new())]);
    for (expression, texts, part) in [
        ("trading_rule:pdt >", "", "does not parse"),
        ("trading_rule:pdtt > 2", "", "is not in the catalogue"),
        ("trading_kill_switch > 0", "", "is not in the catalogue"),
        ("trading_kill_switch_active{symbol=\"AAPL\"} > 0", "", "has no label symbol"),
        ("trading_kill_switch_active > 0 unless on (broker) up", "", "no label broker"),
        ("trading_kill_switch_active > 0", "of {{ $labels.component }}", "no label component"),
        ("trading_orders_total > 5", "", "without rate or increase"),
        ("trading_alert_rule_state{rule=\"x\"} and ALERTS{alert=\"x\"}", "", "has no label alert"),
    ] {
        let problems = promql::check_rule(expression, texts, &recorded).problems;
        assert!(problems.iter().any(|problem| problem.contains(part)), "{expression}: {problems:?}");
    }
}

#[test]
fn every_instrument_is_on_some_panel() {
    let dashboards = all();
    let shown: BTreeSet<String> = panels(&dashboards)
        .flat_map(|panel| {
            panel.queries().map(|(query, legend)| promql::check(query, legend).families).collect::<Vec<_>>()
        })
        .flatten()
        .collect();
    let missing: Vec<_> = CATALOG.iter().map(|row| row.name).filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "on no panel: {missing:?}");
}

#[test]
fn a_query_that_is_wrong_is_found() {
    for (query, part) in [
        ("sum(trading_orders_total{", "does not parse"),
        (r#"max(trading_kill_switch{job=~"$job", instance=~"$instance"})"#, "is not in the catalogue"),
        (
            r#"max(trading_kill_switch_active{job=~"$job", instance=~"$instance", symbol="AAPL"})"#,
            "has no label symbol",
        ),
        (r#"max(trading_kill_switch_active{job=~"$job"})"#, "not chosen by instance"),
        (r#"sum by (broker) (trading_component_up{job=~"$job", instance=~"$instance"})"#, "no label broker"),
        (
            r#"sum(increase(trading_orders_total{job=~"$job", instance=~"$instance", status="DONE"}[$__range]))"#,
            "never DONE",
        ),
        (
            r#"sum(increase(trading_slippage_bps_bucket{job=~"$job", instance=~"$instance", le="3.0"}[$__range]))"#,
            "no bound 3.0",
        ),
        (
            r#"sum(increase(trading_trade_pnl_dollars_sum{job=~"$job", instance=~"$instance"}[$__range]))"#,
            "is not in the catalogue",
        ),
        (r#"sum(rate(trading_orders_total{job=~"$job", instance=~"$instance"}[5m]))"#, "over 5m"),
        (r#"sum(trading_orders_total{job=~"$job", instance=~"$instance"})"#, "without rate or increase"),
    ] {
        let problems = promql::check(query, "").problems;
        assert!(problems.iter().any(|problem| problem.contains(part)), "{query}: {problems:?}");
    }
}

/// What the dashboards were asked to show.
const ASKED: &[(&str, &str, &str)] = &[
    ("Trading Overview", "Portfolio equity", "timeseries"),
    ("Trading Overview", "Daily P&L", "timeseries"),
    ("Trading Overview", "Open positions", "stat"),
    ("Trading Overview", "Order success rate", "stat"),
    ("Risk Metrics", "PDT day trades used", "gauge"),
    ("Risk Metrics", "Circuit breaker states", "state-timeline"),
    ("Risk Metrics", "Kill switch", "stat"),
    ("Risk Metrics", "Drawdown", "timeseries"),
    ("Execution Quality", "Slippage distribution", "heatmap"),
    ("Execution Quality", "Fill latency distribution", "heatmap"),
    ("Execution Quality", "Order type breakdown", "piechart"),
    ("ML Model Performance", "Model accuracy over time", "timeseries"),
    ("ML Model Performance", "PSI drift over time", "timeseries"),
    ("ML Model Performance", "Feature importance", "bargauge"),
    ("ML Model Performance", "Prediction confidence distribution", "bargauge"),
    ("System Health and Alerts", "Components", "state-timeline"),
    ("System Health and Alerts", "Notifications", "timeseries"),
];

#[test]
fn every_panel_that_was_asked_for_is_there() {
    let dashboards = all();
    for (dashboard, title, kind) in ASKED {
        let found = dashboards
            .iter()
            .find(|one| one.title() == *dashboard)
            .unwrap()
            .panels
            .iter()
            .find(|panel| panel.title() == *title);
        assert_eq!(
            found.unwrap_or_else(|| panic!("{dashboard}: no {title}")).kind(),
            *kind,
            "{dashboard}: {title}"
        );
    }
    assert_eq!(dashboards.len(), 5);
}

#[test]
fn every_dashboard_can_be_provisioned_and_found() {
    let dashboards = all();
    let uids: BTreeSet<_> = dashboards.iter().map(|one| one.json["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), dashboards.len(), "two dashboards share a uid");
    for Dashboard { file, json, .. } in &dashboards {
        assert_eq!(format!("{}.json", json["uid"].as_str().unwrap()), *file);
        assert_eq!(json["id"], Value::Null, "{file}: an id belongs to one Grafana");
        assert_eq!(json["editable"], json!(false), "{file}");
        assert_eq!(json["graphTooltip"], json!(1), "{file}: no shared crosshair");
        assert_eq!(json["tags"], json!(["trading"]), "{file}");
        assert!((39..=41).contains(&json["schemaVersion"].as_u64().unwrap()), "{file}");
        assert!(json.get("__inputs").is_none(), "{file}: provisioning asks nobody");
        let links = &json["links"][0];
        assert_eq!(
            (&links["type"], &links["keepTime"], &links["includeVars"]),
            (&json!("dashboards"), &json!(true), &json!(true))
        );
    }
}

#[test]
fn every_dashboard_has_the_same_variables_and_alerts() {
    let dashboards = all();
    let of = |dashboard: &Dashboard, names: &[&str]| -> Vec<Value> {
        let list = dashboard.json["templating"]["list"].as_array().unwrap();
        list.iter().filter(|one| names.contains(&one["name"].as_str().unwrap())).cloned().collect()
    };
    let first = &dashboards[0];
    let [source, job, instance] =
        <[Value; 3]>::try_from(of(first, &["datasource", "job", "instance"])).unwrap();
    assert_eq!(
        (&source["type"], &source["query"], &source["label"]),
        (&json!("datasource"), &json!("prometheus"), &json!("Data source"))
    );
    for (variable, label, query) in [
        (&job, "Job", "label_values(trading_system_info, job)"),
        (&instance, "Instance", r#"label_values(trading_system_info{job=~"$job"}, instance)"#),
    ] {
        assert_eq!(variable["label"], json!(label));
        assert_eq!(variable["query"]["query"], json!(query));
        assert_eq!(
            (&variable["multi"], &variable["allValue"], &variable["refresh"]),
            (&json!(true), &json!(".+"), &json!(2)),
            "{label}"
        );
        assert_eq!(variable["datasource"]["uid"], json!("${datasource}"), "{label}");
    }
    for dashboard in &dashboards {
        assert_eq!(
            of(dashboard, &["datasource", "job", "instance"]),
            of(first, &["datasource", "job", "instance"]),
            "{}",
            dashboard.file
        );
        assert_eq!(dashboard.json["annotations"], first.json["annotations"], "{}", dashboard.file);
    }
    let queries: Vec<_> = first.json["annotations"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["expr"].as_str())
        .collect();
    assert_eq!(
        queries,
        [
            r#"ALERTS{alertstate="firing", severity="critical"}"#,
            r#"ALERTS{alertstate="firing", severity="warning"}"#
        ]
    );
}

#[test]
fn every_panel_says_what_it_shows_in_what_unit_and_what_is_bad() {
    for dashboard in &all() {
        let mut titles = BTreeSet::new();
        for panel in &dashboard.panels {
            let name = panel.name();
            let defaults = &panel.json["fieldConfig"]["defaults"];
            assert!(titles.insert(panel.title()), "{name}: the title is there twice");
            assert!(panel.json["description"].as_str().unwrap().len() > 25, "{name}: no description");
            assert!(!defaults["unit"].as_str().unwrap().is_empty(), "{name}: no unit");
            assert!(!defaults["noValue"].as_str().unwrap().is_empty(), "{name}: nothing for no value");
            assert!(panel.queries().next().is_some(), "{name}: no query");
            assert_eq!(panel.json["datasource"]["uid"], json!("${datasource}"), "{name}");
            for target in panel.targets() {
                assert_eq!(target["datasource"]["uid"], json!("${datasource}"), "{name}");
                assert_ne!(
                    target["instant"], target["range"],
                    "{name}: both or neither of instant and range"
                );
            }
        }
    }
}

#[test]
fn panels_lie_side_by_side() {
    for dashboard in &all() {
        let mut cells = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for panel in dashboard.json["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}: an id is there twice", dashboard.file);
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{}: {} is too wide", dashboard.file, panel["title"]);
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    let other = cells.insert((x, y), &panel["title"]);
                    assert_eq!(other, None, "{}: on top of {}", dashboard.file, panel["title"]);
                }
            }
        }
    }
}

/// What says what is now, and nothing when nobody is there to say it.
const OF_NOW: &[&str] = &[
    "trading_system_info{",
    "trading_ml_feature_importance{",
    "trading_kill_switch_active{",
    "trading_circuit_breakers_tripped{",
    "process_start_time_seconds{",
];

/// A process that is dead has no kill switch that is off, and runs since no time.
#[test]
fn what_is_said_of_now_is_not_what_was_known_last() {
    let dashboards = all();
    let stats = panels(&dashboards).filter(|panel| panel.kind() == "stat");
    let of_now =
        stats.filter(|panel| panel.queries().any(|(query, _)| OF_NOW.iter().any(|one| query.contains(one))));
    let mut titles = BTreeSet::new();
    for panel in of_now {
        assert!(panel.targets().iter().all(|target| target["instant"] == json!(true)), "{}", panel.name());
        titles.insert(panel.title());
    }
    assert_eq!(titles, BTreeSet::from(["Breakers tripped", "Kill switch", "Running since"]));
    for panel in
        panels(&dashboards).filter(|panel| panel.queries().any(|(query, _)| query.starts_with("time() -")))
    {
        assert!(
            panel.targets().iter().all(|one| one["instant"] == json!(true)),
            "{}: an age that stands",
            panel.name()
        );
    }
}

/// Without a value Grafana takes the colour of the lowest threshold: a closed market would be red, a silent kill switch green.
#[test]
fn no_value_has_no_colour_of_good_or_bad() {
    for panel in panels(&all()) {
        let defaults = &panel.json["fieldConfig"]["defaults"];
        let by_level = defaults["color"]["mode"] == json!("thresholds");
        if !by_level || !["stat", "gauge", "bargauge"].contains(&panel.kind()) {
            continue;
        }
        let mappings = defaults["mappings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let expected = json!({"type": "special", "options": {
            "match": "null+nan", "result": {"text": defaults["noValue"], "color": "#8e8e8e"}}});
        assert!(mappings.contains(&expected), "{}: {mappings:?}", panel.name());
    }
}

/// Seen in a running Grafana, and invisible in the JSON.
#[test]
fn no_panel_hides_what_happened() {
    for panel in panels(&all()) {
        let name = panel.name();
        let defaults = &panel.json["fieldConfig"]["defaults"];
        let color = defaults["color"]["mode"].as_str().unwrap();
        match panel.kind() {
            // By thresholds, samples are merged by step, and an outage of 15 minutes disappears.
            "state-timeline" => {
                assert_eq!(color, "fixed", "{name}");
                let mappings = defaults["mappings"][0]["options"].as_object().unwrap();
                assert!(
                    mappings.values().all(|one| one["color"].is_string()),
                    "{name}: a state without a colour"
                );
            }
            // Without the scheme every bar takes the colour of the last one.
            "timeseries" if color == "thresholds" => {
                assert_eq!(defaults["custom"]["gradientMode"], json!("scheme"), "{name}");
            }
            "heatmap" => {
                assert_eq!(panel.json["options"]["calculate"], json!(false), "{name}");
                for target in panel.targets() {
                    assert_eq!(
                        (&target["format"], &target["legendFormat"]),
                        (&json!("heatmap"), &json!("{{le}}")),
                        "{name}"
                    );
                    assert!(target["expr"].as_str().unwrap().contains("_bucket{"), "{name}");
                }
            }
            "barchart" | "table" => {
                let hides_time = panel.json["transformations"].to_string().contains("\"Time\":true");
                assert!(hides_time, "{name}: the time is a column");
                assert!(
                    panel
                        .targets()
                        .iter()
                        .all(|one| one["instant"] == json!(true) && one["format"] == json!("table")),
                    "{name}"
                );
            }
            "gauge" | "stat" => {
                assert_eq!(panel.json["options"]["reduceOptions"]["calcs"], json!(["lastNotNull"]), "{name}");
            }
            _ => {}
        }
        // An instant query finds nothing five minutes after the last sample, unless it reads a range.
        for target in panel.targets() {
            let query = target["expr"].as_str().unwrap();
            let holds = query.contains("[$__range]") || OF_NOW.iter().any(|one| query.contains(one));
            assert!(
                target["range"] == json!(true) || holds,
                "{name}: empty five minutes after the last sample\n    {query}"
            );
        }
    }
}

#[test]
fn start_up_zeros_of_the_account_are_never_drawn() {
    for panel in panels(&all()) {
        for (query, _) in panel.queries() {
            for figure in [
                "equity_dollars",
                "cash_dollars",
                "positions_count",
                "daily_pnl_dollars",
                "daily_pnl_pct",
                "drawdown_pct",
            ] {
                if query.contains(&format!("trading_portfolio_{figure}")) {
                    assert!(
                        query.contains("trading_portfolio_snapshot_timestamp_seconds"),
                        "{}: {query}",
                        panel.name()
                    );
                }
            }
            assert!(
                !query.contains("trading_circuit_breakers_tripped")
                    || query.contains("and on (job, instance) trading_circuit_breaker_tripped"),
                "{}: {query}",
                panel.name()
            );
            for (figure, rule) in [
                ("trading_kill_switch_active", "kill_switch"),
                ("trading_pdt_trades_used", "pdt"),
                ("trading_ml_psi_drift", "psi"),
            ] {
                if query.contains(figure) {
                    assert!(query.contains(&format!("rule=\"{rule}\"}} == -1")), "{}: {query}", panel.name());
                }
            }
        }
    }
}

#[test]
fn thresholds_are_the_levels_of_the_rules() {
    let dashboards = all();
    for (rule, dashboard, title, sign) in [
        ("drawdown", "Risk Metrics", "Drawdown", -1.0),
        ("drawdown", "Trading Overview", "Drawdown", -1.0),
        ("daily_pnl", "Risk Metrics", "Daily P&L, %", 1.0),
        ("daily_pnl", "Trading Overview", "P&L today, %", 1.0),
        ("pdt", "Risk Metrics", "PDT day trades used", 1.0),
        ("pdt", "Risk Metrics", "Day trades used over time", 1.0),
        ("psi", "ML Model Performance", "PSI drift", 1.0),
        ("psi", "ML Model Performance", "PSI drift over time", 1.0),
    ] {
        let dashboard = dashboards.iter().find(|one| one.title() == dashboard).unwrap();
        let panel = dashboard.panels.iter().find(|panel| panel.title() == title).unwrap();
        let steps: Vec<f64> = panel.json["fieldConfig"]["defaults"]["thresholds"]["steps"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|step| step["value"].as_f64())
            .collect();
        let levels = alert_levels(rule);
        assert_eq!(levels.len(), 2, "{rule}");
        for level in levels {
            assert!(
                steps.contains(&(level * sign)),
                "{}: {rule} alerts at {level}, not at {steps:?}",
                panel.name()
            );
        }
    }
}

#[test]
fn the_same_name_has_the_same_colour_everywhere() {
    let mut colors = BTreeMap::<String, BTreeSet<String>>::new();
    for panel in panels(&all()) {
        let overrides = panel.json["fieldConfig"]["overrides"].as_array().unwrap();
        for one in overrides {
            for property in one["properties"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|property| property["id"] == json!("color"))
            {
                if let Some(color) = property["value"]["fixedColor"].as_str() {
                    colors.entry(one["matcher"]["options"].to_string()).or_default().insert(color.to_owned());
                }
            }
        }
    }
    assert!(colors.len() > 10);
    assert!(colors.values().all(|colors| colors.len() == 1), "{colors:#?}");
}
