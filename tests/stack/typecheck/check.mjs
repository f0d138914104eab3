// Writes each dashboard as TypeScript that has to satisfy Grafana's own types, and lets the compiler judge.
//
//     node check.mjs OUT DASHBOARD.json…
//
// OUT is a folder beside node_modules. Every literal is fresh, so a misspelt or misplaced option is an error.
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

// The type of a panel's options and, where it has one, of fieldConfig.defaults.custom.
const panels = {
  bargauge: ["bargauge", "BarGauge", false],
  gauge: ["gauge", "Gauge", false],
  heatmap: ["heatmap", "Heatmap", true],
  piechart: ["piechart", "PieChart", true],
  stat: ["stat", "Stat", false],
  "state-timeline": ["statetimeline", "StateTimeline", true],
  table: ["table", "Table", true],
  timeseries: ["timeseries", "TimeSeries", true],
};

const [out, ...files] = process.argv.slice(2);
const names = Object.values(panels).map(
  ([folder, name]) => `import type * as ${name} from "@grafana/schema/dist/esm/raw/composable/${folder}/panelcfg/x/${name}PanelCfg_types.gen";`,
);
const head = `import type { Dashboard, DataSourceRef, FieldConfig, Panel, RowPanel } from "@grafana/schema";
${names.join("\n")}

// As JSON has it: an enum's value is a plain string or number, and what is left out has its default.
type Json<T> = T extends string ? \`\${T}\`
  : T extends number | boolean | null | undefined ? T
  : T extends ReadonlyArray<infer E> ? Array<Json<E>>
  : T extends object ? { [K in keyof T]?: Json<T[K]> }
  : T;

// What the data source adds to a query.
interface Query { refId: string; datasource: DataSourceRef; expr: string; legendFormat: string; instant: boolean; range: boolean; exemplar?: boolean; format?: "time_series" | "table" | "heatmap" }
type Of<Options, Custom> = Json<Omit<Panel, "options" | "fieldConfig" | "targets">> & {
  targets: Query[];
  options: Json<Options>;
  fieldConfig: {
    defaults: Json<Omit<FieldConfig, "custom">> & { custom?: Json<Custom> };
    overrides: Array<{ matcher: { id: string; options: string }; properties: Array<{ id: string; value: unknown }> }>;
  };
};
`;

for (const file of files) {
  const dashboard = JSON.parse(readFileSync(file, "utf8"));
  const { panels: all, templating, annotations, ...rest } = dashboard;
  const lines = [head, `export const dashboard: Json<Omit<Dashboard, "panels" | "templating" | "annotations">> = ${JSON.stringify(rest, null, 1)};`];
  for (const panel of all) {
    let type = "Json<RowPanel>";
    if (panel.type !== "row") {
      const known = panels[panel.type];
      if (!known) throw new Error(`${file}: no type for a panel of kind ${panel.type}`);
      const [, name, custom] = known;
      type = `Of<${name}.Options, ${custom ? `${name}.FieldConfig` : "never"}>`;
    }
    lines.push(`// ${panel.title}\nexport const panel${panel.id}: ${type} = ${JSON.stringify(panel, null, 1)};`);
  }
  writeFileSync(join(out, basename(file).replace(".json", ".ts")), lines.join("\n\n") + "\n");
}
