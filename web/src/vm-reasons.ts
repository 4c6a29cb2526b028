// What each reason of /api/health means for the person in front of the screen.

const sentences: Readonly<Record<string, string>> = {
  HostUnresolvable: "Its name cannot be resolved. Check ssh.host and the cluster's DNS.",
  HostUnreachable: "There is no route to it. Is it switched on? Check the network and the NetworkPolicy's egress.",
  ConnectionRefused: "It refuses connections. Start sshd on the VM, or check ssh.port.",
  TimedOut: "It does not answer. It may be down, frozen or cut off by a firewall.",
  NotSsh: "What answers there is not an SSH server. Check ssh.port.",
  NegotiationFailed: "Its SSH server shares no common algorithm with ours. Update sshd on the VM.",
  HostKeyUnknown: "Its host key is not known yet, so it is not trusted. Record the key in ssh.knownHosts.",
  HostKeyChanged: "Its host key has changed. Make sure that it is still your machine, then trust the new key.",
  HostKeyRevoked: "Its host key is revoked. Give the VM a new host key.",
  KeyInvalid: "The SSH key of this server cannot be used. Check the key Secret.",
  AuthRejected: "It does not accept our key. Add the public key to authorized_keys of the VM's user.",
  ConnectionLost: "The connection to it broke. It is being built anew.",
  ChannelRefused: "It opens no more sessions. Raise MaxSessions in sshd_config.",
  IdeasPathUnwritable: "The folder of the ideas cannot be written. Check ssh.ideasBasePath, its owner and the disk.",
  CheckStalled: "The server has not been able to check it for a while.",
};

const anyway = "Runs that are under way go on there; this page catches up by itself.";

/** What a reason means and asks for; undefined for none that is known here. */
export function explainReason(reason: string | undefined): string | undefined {
  const sentence = reason === undefined ? undefined : sentences[reason];
  return sentence && `Its dev-VM cannot be used. ${sentence.replace(/^Its\b/, "The VM's").replace(/^It\b/, "The VM")}`;
}

/** Of a VM that is reached. */
export function explainTrouble({ reason, message }: { readonly reason?: string; readonly message?: string }): string {
  return message ?? (reason === undefined ? undefined : sentences[reason]) ?? `Reason: ${reason ?? "unknown"}.`;
}

/** The server's own sentence, which it gives to those who are signed in, says more than the reason alone. */
export function explainAway(away: { readonly reason?: string; readonly message?: string }): string {
  const sentence = away.message ?? (away.reason === undefined ? undefined : sentences[away.reason]);
  if (sentence) return `${sentence} ${anyway}`;
  return away.reason ? `Reason: ${away.reason}. ${anyway}` : anyway;
}
