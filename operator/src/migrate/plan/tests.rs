use super::*;
use crate::migrate::seen::ObjectName;

fn object(kind: &str, name: &str) -> ObjectSeen {
    ObjectSeen { kind: kind.into(), name: name.into(), uid: format!("uid-of-{name}") }
}

fn helms(kind: &str, name: &str) -> OfRelease {
    OfRelease { object: object(kind, name), keep: false }
}

fn called(kind: &str, name: &str) -> ObjectName {
    ObjectName { kind: kind.into(), name: name.into() }
}

fn set(name: &str, labelled: bool) -> Vec<Old> {
    vec![Old { object: object("ReplicaSet", name), labelled }]
}

fn pod(name: &str, labelled: bool) -> Vec<Old> {
    vec![Old { object: object("Pod", name), labelled }]
}

/// A release as Helm leaves it.
fn release() -> Observed {
    Observed {
        marked: vec![
            helms("ConfigMap", "catalyst-extra"),
            helms("Deployment", "catalyst"),
            helms("Secret", "catalyst-secrets"),
            helms("Service", "catalyst"),
        ],
        wanted: vec![called("Deployment", "catalyst"), called("Service", "catalyst")],
        secrets: vec!["catalyst-secrets".into()],
        selector: "app=catalyst".into(),
        sets: set("catalyst-1", false),
        pods: pod("catalyst-1-a", false),
        serving: vec!["catalyst-1-a".into()],
        records: vec![object("Secret", "sh.helm.release.v1.catalyst.v1")],
        ..Observed::default()
    }
}

fn taking(paused: bool) -> Option<InstanceSeen> {
    Some(InstanceSeen { adopting: Some("catalyst".into()), paused, acknowledged: true, ..InstanceSeen::default() })
}

#[test]
fn the_whole_way_of_a_release() {
    let sets = || vec![object("ReplicaSet", "catalyst-1")];
    let pods = || vec![object("Pod", "catalyst-1-a")];
    assert_eq!(
        plan("catalyst", &release()).unwrap(),
        [
            Step::Create("app=catalyst".into()),
            Step::AwaitOperator,
            Step::KeepSecret(object("Secret", "catalyst-secrets")),
            Step::TakeOver(object("Service", "catalyst")),
            Step::Detach(object("Deployment", "catalyst")),
            Step::MarkSets(sets()),
            Step::MarkPods(pods()),
            Step::Resume,
            Step::AwaitReady,
            Step::UnmarkSets(sets()),
            Step::UnmarkPods(pods()),
            Step::AwaitDrained,
            Step::RemoveSets(sets()),
            Step::Remove(object("ConfigMap", "catalyst-extra")),
            Step::Forget(vec![object("Secret", "sh.helm.release.v1.catalyst.v1")]),
            Step::Finish,
        ]
    );
}

#[test]
fn the_operator_is_let_to_work_only_when_every_old_pod_has_the_label_and_they_go_only_when_the_new_ones_serve() {
    let detached = Observed { instance: taking(true), marked: vec![], ..release() };
    let steps = plan("catalyst", &detached).unwrap();
    let at = |wanted: &Step| steps.iter().position(|step| step == wanted);
    assert!(at(&Step::MarkPods(vec![object("Pod", "catalyst-1-a")])) < at(&Step::Resume), "{steps:?}");
    // A pod that came meanwhile without it is labelled too, before anything else.
    let late = Observed {
        instance: taking(false),
        pods: pod("late", false),
        sets: set("catalyst-1", true),
        marked: vec![],
        ..release()
    };
    assert_eq!(plan("catalyst", &late).unwrap()[0], Step::MarkPods(vec![object("Pod", "late")]));
    let waiting = Observed { pods: pod("late", true), ..late };
    assert_eq!(plan("catalyst", &waiting).unwrap()[0], Step::AwaitReady);
    let serving = Observed { new_ready: true, ..waiting };
    assert_eq!(plan("catalyst", &serving).unwrap()[0], Step::UnmarkSets(vec![object("ReplicaSet", "catalyst-1")]));
    let drained = Observed { pods: pod("late", false), sets: set("catalyst-1", false), serving: vec![], ..serving };
    assert_eq!(plan("catalyst", &drained).unwrap()[0], Step::RemoveSets(vec![object("ReplicaSet", "catalyst-1")]));
}

#[test]
fn a_deployment_that_is_ready_is_not_ours_while_helms_is_there() {
    let early = Observed { instance: taking(false), new_ready: true, ..release() };
    assert!(plan("catalyst", &early).unwrap().contains(&Step::AwaitReady));
}

#[test]
fn what_the_chart_asks_to_keep_is_never_deleted() {
    let mut seen = release();
    seen.marked.iter_mut().filter(|one| one.object.kind != "Deployment").for_each(|one| one.keep = true);
    let steps = plan("catalyst", &seen).unwrap();
    assert!(steps.contains(&Step::Leave(object("ConfigMap", "catalyst-extra"))), "{steps:?}");
    assert!(!steps.iter().any(|step| matches!(step, Step::Remove(_))), "{steps:?}");
    // What the instance has itself stays where it is anyway.
    assert!(steps.contains(&Step::TakeOver(object("Service", "catalyst"))), "{steps:?}");
    // The Deployment has to be replaced, so a person is asked.
    seen.marked.iter_mut().for_each(|one| one.keep = true);
    seen.namespace = "team".into();
    let refused = plan("catalyst", &seen).unwrap_err();
    assert_eq!(refused, NoWay::Kept { kept: object("Deployment", "catalyst"), namespace: "team".into() });
    let told = refused.to_string();
    assert!(told.contains("kubectl annotate deployment -n team catalyst helm.sh/resource-policy-"), "{told}");
}

#[test]
fn what_was_done_is_done_and_what_is_not_ours_to_take_is_refused() {
    let none = |others: &[&str]| {
        let others = others.iter().map(|name| (*name).to_owned()).collect();
        NoWay::NoRelease { release: "catalyst".into(), others }
    };
    assert_eq!(plan("catalyst", &Observed::default()), Err(none(&[])));
    assert!(none(&[]).to_string().starts_with("there is no Helm release catalyst in this namespace, nor any other;"));
    // Helm has it, though without what it is about.
    let helms = |change: fn(&mut Observed)| {
        let mut seen = Observed { namespace: "team".into(), ..release() };
        seen.marked.retain(|one| one.object.kind != "Deployment");
        change(&mut seen);
        plan("catalyst", &seen)
    };
    let no_deployment = NoWay::NoDeployment { release: "catalyst".into(), namespace: "team".into() };
    assert_eq!(helms(|seen| seen.marked.clear()), Err(no_deployment.clone()));
    assert_eq!(helms(|seen| seen.records.clear()), Err(no_deployment.clone()));
    assert!(no_deployment.to_string().ends_with(": helm rollback catalyst -n team"), "{no_deployment}");
    let begun = Observed { taken_by: Some("first".into()), ..release() };
    assert_eq!(plan("catalyst", &begun), Err(NoWay::OtherInstance("first".into())));
    // That an instance is there does not mean that it has come from this release.
    let made = Observed {
        instance: Some(InstanceSeen::default()),
        others: vec!["web".into(), "wiki".into()],
        ..Observed::default()
    };
    assert_eq!(plan("catalyst", &made), Err(none(&["web", "wiki"])));
    assert!(none(&["web", "wiki"]).to_string().contains("Here are: web, wiki; "));
    let adopted = InstanceSeen { adopted: Some("catalyst".into()), ..InstanceSeen::default() };
    let finished = Observed { instance: Some(adopted), ..made };
    assert_eq!(plan("catalyst", &finished), Ok(Vec::new()));
    assert_eq!(
        plan("another", &finished).map_err(|error| error.to_string().contains("no Helm release another")),
        Err(true)
    );
    let exists = Observed { instance: Some(InstanceSeen::default()), ..release() };
    assert_eq!(plan("catalyst", &exists), Err(NoWay::InstanceExists));
    // The one that it has taken over is not told to be deleted.
    let adopted = InstanceSeen { adopted: Some("catalyst".into()), ..InstanceSeen::default() };
    let anew = Observed { instance: Some(adopted), ..release() };
    assert_eq!(plan("catalyst", &anew), Err(NoWay::InstalledAnew("catalyst".into())));
    let other = Observed { instance: taking(true), ..release() };
    assert_eq!(plan("another", &other), Err(NoWay::OtherRelease("catalyst".into())));
    let foreign = Observed { foreign: vec![object("Ingress", "catalyst")], ..release() };
    assert_eq!(plan("catalyst", &foreign), Err(NoWay::Foreign(object("Ingress", "catalyst"))));
}

#[test]
fn who_takes_the_release_over_now_comes_before_who_has_taken_over_one_of_that_name() {
    let name = |adopting: &[&str], deployment: Option<&str>, adopted: Option<&str>| {
        let adopting = adopting.iter().map(|name| (*name).to_owned()).collect();
        name(adopting, deployment.map(str::to_owned), adopted.map(str::to_owned))
    };
    let is = |name: &str| Ok(Some(name.to_owned()));
    assert_eq!(name(&["new"], None, Some("before")), is("new"));
    // It was installed anew, and nobody has begun.
    assert_eq!(name(&[], Some("helms"), Some("before")), is("helms"));
    assert_eq!(name(&[], None, Some("before")), is("before"));
    assert_eq!(name(&[], None, None), Ok(None));
    let several = name(&["a", "b"], Some("a"), None).unwrap_err();
    assert!(several.to_string().starts_with("the CatalystInstances a, b are all noted"), "{several}");
}
