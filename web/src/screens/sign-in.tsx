// Sign-in with the shared secret; says whether the secret, the number of tries, the server or the VM is at fault.

import { useEffect, useRef, useState } from "preact/hooks";
import { api, type Health } from "../api";
import { ApiError, explain } from "../http";
import { Icon, Mark } from "../icons";
import { explainAway } from "../vm-reasons";

interface SignInProps {
  readonly ended: boolean;
  readonly onSignedIn: () => void;
}

export function SignIn({ ended, onSignedIn }: SignInProps) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const [wait, setWait] = useState(0);
  const [health, setHealth] = useState<Health>();
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => {
    document.title = "Sign in – Catalyst";
    input.current?.focus();
    let live = true;
    const look = () => void api.health().then((now) => live && setHealth(now));
    look();
    const timer = setInterval(look, 10_000);
    return () => {
      live = false;
      clearInterval(timer);
    };
  }, []);

  useEffect(() => {
    if (wait <= 0) return;
    const timer = setTimeout(() => setWait(wait - 1), 1000);
    return () => clearTimeout(timer);
  }, [wait]);

  const submit = async () => {
    const secret = input.current?.value ?? "";
    if (secret === "") {
      setError("Enter the secret.");
      input.current?.focus();
      return;
    }
    setBusy(true);
    setError(undefined);
    try {
      await api.signIn(secret);
      onSignedIn();
    } catch (problem) {
      setBusy(false);
      setError(signInProblem(problem));
      if (problem instanceof ApiError && problem.kind === "too-many") setWait(Math.ceil(problem.retryAfter ?? 10));
      input.current?.focus();
      input.current?.select();
    }
  };

  return (
    <main class="centered">
      <form
        class="card sign-in"
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy && wait <= 0) void submit();
        }}
      >
        <div class="brand">
          <Mark />
          <h1>Catalyst</h1>
        </div>
        <p class="muted">{ended ? "Your session has ended. Sign in again to go on where you were." : "Capture ideas, think them through with Claude, let it build them."}</p>
        {/* Password managers file the secret under this name. */}
        <input class="visually-hidden" type="text" name="username" value="catalyst" autocomplete="username" tabIndex={-1} aria-hidden="true" readOnly />
        <label for="secret">Secret</label>
        <input
          id="secret"
          ref={input}
          type="password"
          name="password"
          autocomplete="current-password"
          aria-invalid={error !== undefined}
          aria-describedby={error ? "sign-in-error" : undefined}
          data-testid="sign-in-secret"
        />
        <div role="alert">
          {error && (
            <p class="field-error" id="sign-in-error" data-testid="sign-in-error">
              <Icon name="alert" /> <span>{error}</span>
            </p>
          )}
        </div>
        <button type="submit" class="primary" disabled={busy || wait > 0} data-testid="sign-in-submit">
          {busy ? "Signing in…" : wait > 0 ? `Wait ${wait} s` : "Sign in"}
        </button>
        <HealthNote health={health} />
      </form>
    </main>
  );
}

function signInProblem(problem: unknown): string {
  if (!(problem instanceof ApiError)) return explain(problem);
  if (problem.kind === "signed-out") return "That secret is not right. It is in the Secret of your Catalyst instance, under CATALYST_SECRET.";
  if (problem.kind === "too-many") return "Too many attempts. Wait a little, then try again.";
  return problem.message;
}

function HealthNote({ health }: { readonly health: Health | undefined }) {
  if (!health || health.state === "ok") return null;
  const [title, body] =
    health.state === "vm-away"
      ? ["The dev-VM is away.", explainAway(health)]
      : health.state === "no-server"
        ? ["The server takes no requests at the moment.", "Most often the dev-VM cannot be reached. It comes back on its own."]
        : ["The server cannot be reached.", "Check your connection; this page tries again by itself."];
  return (
    <p class="inline-note" role="status" data-testid="health-note">
      <Icon name="alert" />
      <span>
        <strong>{title}</strong> {body}
      </span>
    </p>
  );
}
