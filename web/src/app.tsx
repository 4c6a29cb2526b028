// The frame around all screens: who is signed in, which screen the address names, and one connection for all.

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { api } from "./api";
import { Connection } from "./connection";
import { drafts } from "./drafts";
import { explain, whenSignedOut } from "./http";
import { Link, navigate, route } from "./router";
import { AwayScreen } from "./screens/away";
import { IdeaScreen } from "./screens/idea";
import { IdeasScreen } from "./screens/ideas";
import { NewIdeaScreen } from "./screens/new-idea";
import { TrashScreen } from "./screens/trash";
import { SignIn } from "./screens/sign-in";
import { NewReleaseNote, Shell, Toast } from "./shell";
import { useStore } from "./store";

type Session = { readonly state: "checking" } | { readonly state: "unknown" } | { readonly state: "out"; readonly ended: boolean } | { readonly state: "in"; readonly user?: string };

/** Whether the server answers at all. */
const answers = () => api.authenticated().then(
  () => true,
  () => false,
);

export function App() {
  const [session, setSession] = useState<Session>({ state: "checking" });
  const [toast, setToast] = useState<string>();
  const connection = useMemo(() => new Connection(() => setSession({ state: "out", ended: true })), []);

  const check = useCallback(async () => {
    setSession({ state: "checking" });
    try {
      const { authenticated, user } = await api.session();
      setSession(authenticated ? { state: "in", ...(user !== undefined && { user }) } : { state: "out", ended: false });
    } catch {
      setSession({ state: "unknown" });
    }
  }, []);

  useEffect(() => {
    whenSignedOut(() => setSession((now) => (now.state === "in" ? { state: "out", ended: true } : now)));
    void check();
  }, [check]);

  useEffect(() => {
    if (session.state === "in") connection.start();
    else connection.stop();
  }, [session.state, connection]);

  const signOut = useCallback(async (everywhere: boolean) => {
    try {
      if (everywhere) await api.signOutEverywhere();
      else await api.signOut();
    } catch (problem) {
      setToast(`Signing out did not work. ${explain(problem)}`);
      return;
    }
    drafts.forgetAll();
    setSession({ state: "out", ended: false });
    navigate("/", "replace");
  }, []);

  switch (session.state) {
    case "checking":
      return <div class="splash" role="status" aria-label="Loading" />;
    case "unknown":
      return <AwayScreen tryAgain={answers} onBack={() => location.reload()} />;
    case "out":
      return <SignIn ended={session.ended} onSignedIn={() => setSession({ state: "in" })} />;
    case "in":
      return (
        <>
          <Screen connection={connection} user={session.user} signOut={signOut} say={setToast} />
          {toast ? <Toast text={toast} onClose={() => setToast(undefined)} /> : <NewReleaseNote />}
        </>
      );
  }
}

interface ScreenProps {
  readonly connection: Connection;
  readonly user: string | undefined;
  readonly signOut: (everywhere: boolean) => Promise<void>;
  readonly say: (text: string) => void;
}

function Screen({ connection, user, signOut, say }: ScreenProps) {
  const current = useStore(route);
  switch (current.screen) {
    case "ideas":
      return <IdeasScreen connection={connection} user={user} signOut={signOut} />;
    case "new":
      return <NewIdeaScreen connection={connection} />;
    case "idea":
      return <IdeaScreen key={current.slug} slug={current.slug} view={current.view} path={current.path} connection={connection} say={say} />;
    case "trash":
      return <TrashScreen connection={connection} say={say} />;
    case "missing":
      return (
        <Shell connection={connection} title="Not found" back="/">
          <div class="empty">
            <h2>There is nothing at this address</h2>
            <Link to="/" class="button">
              All ideas
            </Link>
          </div>
        </Shell>
      );
  }
}
