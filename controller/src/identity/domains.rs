//! Trust domains: the one that identities are in, and others that are taken for it.

use sluice_ir::is_trust_domain;
use sluice_translate::MeshConfig;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domains {
    /// The mesh's own.
    pub own: String,
    /// Its aliases: what it was called before, or what other meshes with the same roots are called.
    pub aliases: Vec<String>,
}

impl Domains {
    /// What the mesh's configuration says (ConfigMap `istio` of the root namespace, key `mesh`), else `default`. What is no
    /// trust domain is left out and told. When nothing of it can be read, what held `before` stays: a slip elsewhere in it
    /// must not give every workload another name.
    pub(super) fn read(mesh: Option<&str>, default: &Self, before: Option<&Self>) -> (Self, Option<String>) {
        let Some(text) = mesh else { return (default.clone(), None) };
        let config = match MeshConfig::read(text) {
            Ok(config) => config,
            Err(error) => return (before.unwrap_or(default).clone(), Some(error)),
        };
        let mut trouble = None;
        let mut fits = |domain: &String| {
            let fits = is_trust_domain(domain);
            if !fits {
                trouble = Some(format!("{domain:?} is no trust domain"));
            }
            fits
        };
        let own = config.trust_domain.filter(|it| !it.is_empty()).filter(&mut fits);
        let aliases: Vec<String> = config.trust_domain_aliases.into_iter().filter(&mut fits).collect();
        let own = own.unwrap_or_else(|| default.own.clone());
        let aliases = if aliases.is_empty() { default.aliases.clone() } else { aliases };
        (Self { own, aliases }, trouble)
    }

    /// Whether a trust domain is the mesh's own or an alias.
    pub fn has(&self, domain: &str) -> bool {
        self.own == domain || self.aliases.iter().any(|it| it == domain)
    }

    /// The own first.
    pub fn all(&self) -> Vec<String> {
        std::iter::once(&self.own).chain(&self.aliases).cloned().collect()
    }
}

impl Default for Domains {
    /// `cluster.local`
    fn default() -> Self {
        Self { own: "cluster.local".to_owned(), aliases: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::Domains;

    #[test]
    fn the_configuration_of_the_mesh_comes_before_the_settings() {
        let default = Domains { own: "a.example".to_owned(), aliases: vec!["b.example".to_owned()] };
        let read = |text| Domains::read(text, &default, None);
        assert_eq!(read(None), (default.clone(), None));
        assert_eq!(read(Some("accessLogFile: /dev/stdout")), (default.clone(), None));
        let (domains, trouble) = read(Some("trustDomain: td.example\ntrustDomainAliases: [old.example]"));
        assert_eq!(domains.all(), ["td.example", "old.example"]);
        assert!(trouble.is_none() && domains.has("old.example") && !domains.has("a.example"));
        let (domains, trouble) = read(Some("trustDomain: Not/One"));
        assert_eq!(domains, default);
        assert!(trouble.is_some_and(|it| it.contains("Not/One")));
        let (kept, trouble) = Domains::read(Some("trustDomain: ["), &default, Some(&Domains::default()));
        assert!(kept == Domains::default() && trouble.is_some());
        assert_eq!(read(Some("trustDomain: [")).0, default);
    }
}
