#!/usr/bin/env bash
# The exported alert rules and the configuration of Alertmanager: the real programs accept them, the rules do as the
# vectors say, and so does a copy of each configuration that has to work when the paging is turned round.
. scripts/lib.sh
need_tools promtool amtool alertmanager
promtool check rules config/rules/trading-telemetry.yml
promtool test rules config/rules/tests.yml
amtool check-config config/alertmanager.yml

cargo build --features cli --bin trading-telemetry --locked
tool=$TARGET/debug/trading-telemetry
env -i "$tool" export --check

# Filled in and turned round; the secrets are none.
folder=$(scratch rules)
env -i SLACK_WEBHOOK_URL=https://hooks.slack.com/services/none TELEGRAM_BOT_TOKEN=1:none TELEGRAM_CHAT_ID=-1 \
    "$tool" export --fill-secrets --directory "$folder/engine"
env -i SA_ALERTS__CHANNELS=log,alertmanager SA_ALERTS__ALERTMANAGER__URLS=http://127.0.0.1:9093 \
    SLACK_WEBHOOK_URL=https://hooks.slack.com/services/none \
    "$tool" export --fill-secrets --directory "$folder/alertmanager"
amtool check-config "$folder"/*/alertmanager*.yml

# Who is told of what, asked of Alertmanager's own routing.
route() { # CONFIG RECEIVER LABEL=VALUE...
    local config=$1 receiver=$2
    shift 2
    amtool config routes test --config.file="$config" --verify.receivers="$receiver" "$@"
}
route config/alertmanager.yml nobody alertname=drawdown severity=critical origin=engine
route config/alertmanager.yml nobody alertname=drawdown severity=critical origin=engine evaluator=prometheus
route config/alertmanager.yml critical alertname=process_down severity=critical origin=prometheus
turned=$folder/alertmanager/alertmanager.yml
route "$turned" critical alertname=drawdown severity=critical origin=engine
route "$turned" warning alertname=drawdown severity=warning origin=engine
route "$turned" nobody alertname=drawdown severity=critical origin=engine evaluator=prometheus
route "$turned" critical-message alertname=Retrained severity=critical origin=engine kind=message
route "$turned" critical alertname=process_down severity=critical origin=prometheus
