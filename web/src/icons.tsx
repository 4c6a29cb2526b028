// Line icons, drawn here; decorative, so hidden from screen readers.

const paths = {
  back: "M15 5l-7 7 7 7",
  plus: "M12 5v14M5 12h14",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM20 20l-4.8-4.8",
  send: "M12 19V6M6 11.5L12 5.5l6 6",
  stop: "M7 7h10v10H7z",
  trash: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12M10.5 10.5v5M13.5 10.5v5",
  exit: "M14 8V5H5v14h9v-3M10 12h10M17 9l3 3-3 3",
  chat: "M5 6h14v9.5H11l-4 3.5v-3.5H5z",
  build: "M14.5 6.5a4 4 0 0 0 5 5l-8 8a2.1 2.1 0 0 1-3-3l8-8a4 4 0 0 0-2-2zM6 6l3 3",
  tool: "M8 8l-4 4 4 4M16 8l4 4-4 4M13.5 6l-3 12",
  file: "M7 4h7l4 4v12H7zM14 4v4h4",
  edit: "M5 19l.8-3.6L16 5.2l2.8 2.8L8.6 18.2zM14 7.2l2.8 2.8",
  terminal: "M4 5h16v14H4zM7.5 10l2.5 2-2.5 2M12.5 14.5h4",
  globe: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM4 12h16M12 4c2.5 2.4 3.5 5 3.5 8s-1 5.6-3.5 8c-2.5-2.4-3.5-5-3.5-8s1-5.6 3.5-8z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  chevron: "M9 6l6 6-6 6",
  down: "M12 5v13M6 12.5l6 6 6-6",
  "arrow-up": "M12 19V6M6 11.5L12 5.5l6 6",
  "arrow-down": "M12 5v13M6 12.5l6 6 6-6",
  "arrow-left": "M19 12H6M11.5 6L5.5 12l6 6",
  "arrow-right": "M5 12h13M12.5 6l6 6-6 6",
  folder: "M4 7h6l2 2.5h8V18H4z",
  download: "M12 5v10M7.5 11l4.5 4.5 4.5-4.5M5 19h14",
  history: "M5 12a7.5 7.5 0 1 1 2.2 5.3M5 12l-2-2M5 12l2.2-2M12 8v4.5l3 1.8",
  bell: "M6.5 16.5h11l-1.3-2.2V10.5a4.2 4.2 0 0 0-8.4 0v3.8zM10.5 19h3",
  refresh: "M18.5 12a6.5 6.5 0 1 1-2-4.7M18.5 4.5v4h-4",
  alert: "M12 4.5l8.5 15h-17zM12 10v4.5M12 17.2v.1",
  copy: "M9 9h10v10H9zM5 15V5h10",
  key: "M14.5 13.5a4.5 4.5 0 1 0-4-2.5L4 17.5V20h3v-2h2v-2h2l1.2-2.7M15.5 8.5v.1",
  spark: "M12 4v4M12 16v4M4 12h4M16 12h4M6.5 6.5l2.5 2.5M15 15l2.5 2.5M17.5 6.5L15 9M9 15l-2.5 2.5",
  clock: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 8v4.5l3 2",
  question: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM9.8 9.8a2.3 2.3 0 1 1 3.3 2.2c-.8.4-1.1.9-1.1 1.7M12 16.3v.1",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}

/** The flask of the favicon. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect class="mark-ground" width="32" height="32" rx="8" />
      <path class="mark-glass" d="M13 6.5h6M14.5 6.5v6.2L8.6 22.4a2.1 2.1 0 0 0 1.8 3.1h11.2a2.1 2.1 0 0 0 1.8-3.1l-5.9-9.7V6.5" />
      <path class="mark-liquid" d="M11.6 19.6h8.8l2.3 3.8a.9.9 0 0 1-.8 1.4H10.1a.9.9 0 0 1-.8-1.4z" />
    </svg>
  );
}
