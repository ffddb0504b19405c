//! Which solver proves which name.

use super::names::{base, is_wildcard};
use crate::{DomainSelector, Issuer, Solver, SolverKind};

/// The solvers of the issuer that can prove the name, in their order; never empty.
pub(crate) fn for_name<'a>(issuer: &'a Issuer, name: &str) -> Result<Vec<&'a Solver>, String> {
    let selected = || issuer.solvers.iter().filter(|it| selects(&it.selector, name));
    let able: Vec<&Solver> = selected().filter(|it| !is_wildcard(name) || is_dns(it)).collect();
    if !able.is_empty() {
        return Ok(able);
    }
    let issuer = &issuer.name;
    if selected().next().is_some() {
        return Err(format!(
            "{name} is a wildcard, which only DNS-01 can prove; give issuer {issuer} a DNS-01 solver for {}",
            base(name)
        ));
    }
    Err(format!("no solver of issuer {issuer} selects {name}; add one or widen a selector"))
}

fn is_dns(solver: &Solver) -> bool {
    matches!(solver.kind, SolverKind::Dns01(_))
}

fn selects(selector: &DomainSelector, name: &str) -> bool {
    let below = |zone: &str| {
        let rest = base(name).strip_suffix(zone.trim_end_matches('.'));
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let selects_all = selector.names.is_empty() && selector.zones.is_empty();
    selects_all || selector.names.iter().any(|it| it == name) || selector.zones.iter().any(|it| below(it))
}

#[cfg(test)]
mod tests {
    use super::for_name;
    use crate::{Dns01, DomainSelector, Issuer, IssuerName, Solver, SolverKind, Webhook};

    fn webhook() -> SolverKind {
        let webhook = Webhook { url: "https://dns".to_owned(), authorities: None, header: None, zone: None };
        SolverKind::Dns01(Dns01::Webhook(webhook))
    }

    fn solver(kind: SolverKind, names: &[&str], zones: &[&str]) -> Solver {
        let texts = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect();
        Solver { kind, selector: DomainSelector { names: texts(names), zones: texts(zones) } }
    }

    #[test]
    fn the_first_solver_that_selects_the_name_and_can_prove_it_comes_first() {
        let mut issuer = Issuer::new(IssuerName::new("a/ca"), "https://ca");
        issuer.solvers = vec![
            solver(SolverKind::Http01, &[], &["example.com"]),
            solver(webhook(), &[], &["example.com", "example.org"]),
            solver(SolverKind::TlsAlpn01, &["one.example.net"], &[]),
        ];
        let kinds = |name: &str| -> Vec<SolverKind> {
            for_name(&issuer, name).unwrap().into_iter().map(|it| it.kind.clone()).collect()
        };
        assert_eq!(kinds("a.example.com"), [SolverKind::Http01, webhook()]);
        assert_eq!(kinds("*.example.com"), [webhook()]);
        assert_eq!(kinds("example.org"), [webhook()]);
        assert_eq!(kinds("one.example.net"), [SolverKind::TlsAlpn01]);
        assert!(for_name(&issuer, "badexample.org").unwrap_err().contains("no solver of issuer a/ca"));
    }

    #[test]
    fn a_wildcard_without_dns_01_says_what_is_missing() {
        let issuer = Issuer::new(IssuerName::new("a/ca"), "https://ca");
        let error = for_name(&issuer, "*.example.com").unwrap_err();
        assert_eq!(
            error,
            "*.example.com is a wildcard, which only DNS-01 can prove; give issuer a/ca a DNS-01 solver for example.com"
        );
    }
}
