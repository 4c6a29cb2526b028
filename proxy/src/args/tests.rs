use super::*;

fn raw(settings: &[(&str, &str)]) -> RawSettings {
    let mut argv = vec!["catalyst-proxy".to_owned()];
    let base = [
        ("catalyst-secret", "a-secret-of-length"),
        ("cookie-secret", "another-secret-of-length"),
        ("ssh-host", "vm"),
        ("ssh-user", "dev"),
    ];
    for (name, value) in base.iter().filter(|(name, _)| !settings.iter().any(|(n, _)| n == name)).chain(settings) {
        argv.push(format!("--{name}={value}"));
    }
    Args::try_parse_from(argv).expect("arguments parse").settings
}

#[test]
fn what_is_needed_is_enough_and_the_rest_has_defaults() {
    let settings = raw(&[]).check().unwrap();
    assert_eq!(settings.listen.port(), 3001);
    assert_eq!(settings.ssh.port, 22);
    assert!(settings.ssh.strict);
    assert!(!settings.web.secure_cookie);
    assert_eq!(settings.ideas_base_path, "~/catalyst/ideas");
}

#[test]
fn missing_short_and_placeholder_secrets_are_refused_by_name_without_showing_them() {
    for (value, says) in [("", "is not set"), ("tooshort", "has 8 characters"), ("CHANGE_ME_CHANGE_ME", "CHANGE_ME")] {
        for name in ["catalyst-secret", "cookie-secret"] {
            let error = raw(&[(name, value)]).check().unwrap_err();
            let variable = name.to_uppercase().replace('-', "_");
            assert!(error.0[0].starts_with(&variable), "{error}");
            assert!(error.0[0].contains(says) && error.0[0].contains("openssl rand -hex 32"), "{error}");
            assert!(value.is_empty() || !error.to_string().contains("tooshort"));
        }
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let error = raw(&[("ssh-host", ""), ("ssh-port", "ssh"), ("trusted-proxies", "10.0.0.0/99")]).check().unwrap_err();
    assert_eq!(error.0.len(), 3, "{error}");
}

#[test]
fn the_cookie_is_secure_only_when_people_come_by_https() {
    let secure = |list: &[(&str, &str)]| raw(list).check().unwrap().web.secure_cookie;
    assert!(secure(&[("public-url", "https://c.example.com/")]));
    assert!(!secure(&[("public-url", "http://c.example.com"), ("allowed-origins", "https://other.example.com")]));
    assert!(secure(&[("allowed-origins", "https://c.example.com,http://localhost:8080")]));
    assert!(!secure(&[("allowed-origins", "https://c.example.com,http://c.example.com")]));
}

#[test]
fn a_jump_host_takes_the_user_and_the_usual_port_where_it_names_none() {
    let jump = |text: &str| raw(&[("ssh-jump", text)]).check().map(|settings| settings.ssh.jump);
    assert_eq!(jump("").unwrap(), None);
    let named = jump("bastion.example.com").unwrap().unwrap();
    assert_eq!((named.user.as_str(), named.port), ("dev", 22));
    let error = jump("a@b:ssh").unwrap_err();
    assert!(error.0[0].starts_with("SSH_JUMP"), "{error}");
}

#[test]
fn terminals_are_there_unless_they_are_turned_off() {
    let mode = |text: &str| raw(&[("terminal", text)]).check().map(|settings| settings.terminal);
    assert_eq!(mode("").unwrap(), TerminalMode::Auto);
    assert_eq!(mode("off").unwrap(), TerminalMode::Off);
    assert!(mode("no").unwrap_err().0[0].starts_with("TERMINAL"));
}

#[test]
fn terminals_are_recorded_only_if_that_is_asked_for() {
    let most = |text: &str| raw(&[("terminal-recording", text)]).check().map(|settings| settings.terminal_recording);
    assert_eq!(raw(&[]).check().unwrap().terminal_recording, None);
    assert_eq!((most("").unwrap(), most("0").unwrap(), most("5").unwrap()), (None, None, Some(5 << 20)));
    assert!(most("on").unwrap_err().0[0].starts_with("TERMINAL_RECORDING"));
}

#[test]
fn a_header_that_names_people_needs_a_proxy_that_may() {
    let error = raw(&[("identity-header", "X-Forwarded-User")]).check().unwrap_err();
    assert!(error.0.len() == 1 && error.0[0].contains("TRUSTED_PROXIES"), "{error}");
    let error = raw(&[("identity-header", "a b"), ("trusted-proxies", "10.0.0.1")]).check().unwrap_err();
    assert!(error.0.len() == 1 && error.0[0].starts_with("IDENTITY_HEADER"), "{error}");
}

#[test]
fn debug_output_never_holds_a_secret() {
    let raw = raw(&[]);
    let shown = format!("{:?} {raw:?}", raw.check().unwrap());
    assert!(!shown.contains("secret-of-length"), "{shown}");
}

#[test]
fn help_names_every_variable() {
    let help = <Args as clap::CommandFactory>::command().render_long_help().to_string();
    for name in [
        "PORT",
        "CATALYST_SECRET",
        "COOKIE_SECRET",
        "SSH_HOST",
        "SSH_PORT",
        "SSH_USER",
        "SSH_JUMP",
        "SSH_KEY_PATH",
        "SSH_KEY",
        "IDEAS_BASE_PATH",
        "MAX_SSH_CONNECTIONS",
        "CLAUDE_TIMEOUT_MS",
        "CLAUDE_TURN_LIMIT_MS",
        "APPROVAL_TIMEOUT_MS",
        "SSH_KNOWN_HOSTS",
        "SSH_HOST_KEY_CHECK",
        "ALLOWED_ORIGINS",
        "TRUSTED_PROXIES",
        "COOKIE_SECRET_PREVIOUS",
        "SESSION_GENERATION",
        "IDENTITY_HEADER",
        "METRICS_PORT",
        "CLAUDE_COMMAND",
        "LOG_FORMAT",
        "TERMINAL",
        "TERMINAL_RECORDING",
    ] {
        assert!(help.contains(&format!("[env: {name}")), "{name} is not in the help");
    }
}
