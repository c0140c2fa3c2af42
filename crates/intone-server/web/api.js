// The description of the API for people, made from the one for programs.

import { element } from "./timeline.js";

document.getElementById("example").textContent = `curl --data-binary @call.mp3 ${location.origin}/v1/recognize`;

/** The name of a type in the description. */
function type(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.oneOf || schema.anyOf) return (schema.oneOf ?? schema.anyOf).map(type).filter(Boolean).join(" or ");
  if (schema.type === "array") return `list of ${type(schema.items)}`;
  if (schema.additionalProperties) return `map to ${type(schema.additionalProperties)}`;
  if (schema.enum) return schema.enum.map((value) => `"${value}"`).join(", ");
  return [schema.type].flat().filter((name) => name !== "null").join(" or ") + ([schema.type].flat().includes("null") ? " or null" : "");
}

/** Text whose names between backticks are shown as such. */
function prose(text) {
  return (text ?? "").split("`").map((part, i) => (i % 2 ? element("code", { textContent: part }) : part));
}

function rows(heads, lines) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", textContent: text })));
  const body = lines.map(([name, ...rest]) =>
    element("tr", {}, element("td", {}, element("code", { textContent: name })), ...rest.map((text) => element("td", {}, ...prose(text)))),
  );
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", heads.join(", "));
  return scroll;
}

function operation(path, verb, description) {
  const title = element("h3", {}, element("span", { className: "verb", textContent: `${verb.toUpperCase()} ` }), element("code", { textContent: path }));
  const parts = [title, element("p", {}, ...prose(description.summary))];
  if (description.description) parts.push(element("p", { className: "hint" }, ...prose(description.description)));
  const parameters = description.parameters ?? [];
  if (parameters.length) {
    parts.push(rows(["Parameter", "Type", "Meaning"], parameters.map((p) => [p.name, type(p.schema), p.description])));
  }
  const answers = Object.entries(description.responses).map(([status, answer]) => {
    const content = Object.entries(answer.content ?? {})[0];
    const [kind, of] = content ?? ["", {}];
    return [status, kind === "application/json" ? type(of.schema) : kind, answer.description];
  });
  parts.push(rows(["Status", "Answer", "When"], answers));
  return parts;
}

/** A type: its fields, its values, or its kinds. */
function schema(name, description) {
  const parts = [element("h3", { id: name }, element("code", { textContent: name }))];
  if (description.description) parts.push(element("p", {}, ...prose(description.description)));
  const fields = (of) => Object.entries(of.properties ?? {}).map(([field, inner]) => [field, type(inner), inner.description]);
  if (description.enum) parts.push(rows(["Value"], description.enum.map((value) => [value])));
  for (const kind of [description, ...(description.oneOf ?? []), ...(description.allOf ?? [])]) {
    const lines = [...fields(kind), ...(kind.allOf ?? []).flatMap((part) => (part.$ref ? [["\u2026", type(part), "and its fields"]] : fields(part)))];
    if (kind !== description && kind.description) parts.push(element("p", {}, ...prose(kind.description)));
    if (lines.length) parts.push(rows(["Field", "Type", "Meaning"], lines));
    else if (kind.enum && kind !== description) parts.push(element("p", {}, element("code", { textContent: kind.enum.join(", ") })));
    else if (kind.const) parts.push(element("p", {}, element("code", { textContent: kind.const })));
  }
  return parts;
}

const place = document.getElementById("doc");
try {
  const api = await (await fetch("/openapi.json")).json();
  const parts = [element("p", {}, ...prose(api.info.description)), element("h2", { textContent: "Routes" })];
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, description] of Object.entries(verbs)) parts.push(...operation(path, verb, description));
  }
  parts.push(element("h2", { textContent: "Types" }));
  for (const [name, description] of Object.entries(api.components.schemas)) parts.push(...schema(name, description));
  place.replaceChildren(...parts);
} catch {
  place.replaceChildren(element("p", { className: "problem", textContent: "The service does not answer. Is it still running?" }));
}
