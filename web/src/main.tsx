import { render } from "preact";
import { App } from "./app";
import { registerWorker } from "./worker/register";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/screens.css";
import "./styles/conversation.css";
import "./styles/tool.css";
import "./styles/composer.css";
import "./styles/prose.css";
import "./styles/files.css";
import "./styles/terminal.css";

const root = document.getElementById("app");
if (root) render(<App />, root);

if (import.meta.env.PROD) void registerWorker();
