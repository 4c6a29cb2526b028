// How far Claude may go in a build without asking: chosen beside Build, kept for each idea.

import type { BuildMode } from "../protocol";

export const buildModes: Readonly<Record<BuildMode, { readonly name: string; readonly hint: string }>> = {
  plan: { name: "Plan first", hint: "Claude changes nothing until you approve its plan." },
  ask: { name: "Ask for everything", hint: "Claude asks before every change and every command." },
  acceptEdits: { name: "Edit freely", hint: "Claude changes files of the project by itself and asks for commands." },
  all: { name: "Ask for nothing", hint: "Claude does anything on the dev-VM without asking. Only for a VM that may break." },
};

interface BuildModeProps {
  readonly value: BuildMode;
  readonly onChange: (mode: BuildMode) => void;
}

export function BuildModeChoice({ value, onChange }: BuildModeProps) {
  return (
    <label class="build-mode" title={buildModes[value].hint}>
      <span class="visually-hidden">What Claude may do without asking</span>
      <select value={value} data-testid="build-mode" data-mode={value} onChange={(event) => onChange(event.currentTarget.value as BuildMode)}>
        {(Object.keys(buildModes) as BuildMode[]).map((mode) => (
          <option key={mode} value={mode}>
            {buildModes[mode].name}
          </option>
        ))}
      </select>
    </label>
  );
}
