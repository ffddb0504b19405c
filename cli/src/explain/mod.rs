//! `sluice explain`: which listener, route, rule, filters, policies and endpoints a request would meet.
//!
//! Comes in: a request as one would give it to curl, and a folder. Goes out: every step with its file and line, and
//! the answer; for an error, why, and what came nearest. The translation, the compiled configuration and the decision
//! are those of the proxy; nothing is sent anywhere.

mod answer;
mod asked;
mod authorization;
mod backends;
mod describe;
mod destination;
mod forward;
mod places;
mod port;
mod report;
mod stream;
mod table;
mod traffic;

pub use asked::Asked;
pub use report::{Answer, BackendPart, Explanation, Part};

use crate::mesh::MeshArgs;
use crate::output::{self, Format};
use crate::project::Project;
use anyhow::Context as _;
use places::Places;
use sluice_ir::HostPattern;
use sluice_proxy::acme::HTTP_PREFIX;
use sluice_proxy::http::{Decision, RequestView, decide};
use sluice_proxy::telemetry::Outcome;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Say what would happen to a request, with file and line of everything it meets.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Exit status: 0 the request would be served, 1 it would not, 2 the folder or the request can't be read.

Examples:
  sluice explain http://shop.example.com/cart -f manifests
  sluice explain -X POST -H 'content-type: application/json' https://shop.example.com/cart -f manifests
  sluice explain -X DELETE http://shop.example.com/cart --identity cluster.local/ns/web/sa/front -f manifests
  sluice explain http://shop.example.com:8080/ --port-offset 8000 -f manifests -o json
  sluice explain tls://db.example.com:5432 -f manifests
  sluice explain -x 3128 https://api.example.com/ -f manifests      # by a forward proxy")]
pub struct ExplainArgs {
    /// The request's URL; its scheme and port choose the listener. For what is carried whole: `tls://HOST:PORT`,
    /// `tcp://HOST:PORT` or `udp://HOST:PORT`.
    pub url: String,
    /// Folder of manifests, as for `sluice run`.
    #[arg(short = 'f', long = "folder", value_name = "DIR")]
    pub dir: PathBuf,
    /// The request's method.
    #[arg(short = 'X', long, default_value = "GET")]
    pub method: String,
    /// A field of the request's header; may be repeated. `Host` replaces the URL's host as it does with curl.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Form of the report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Ask the forward proxy on this port, as curl does: http:// by a target in absolute form, anything else by CONNECT.
    #[arg(short = 'x', long, value_name = "PORT")]
    pub proxy: Option<u16>,
    /// With --proxy: CONNECT for http:// too.
    #[arg(short = 'p', long, requires = "proxy")]
    pub proxytunnel: bool,
    /// The gateway's `--port-offset`: the URL may then name the offset port.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port_offset: u16,
    /// The address that is connected to, where Gateways have addresses of their own.
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<IpAddr>,
    /// Who the client has proven to be by its certificate, as `principals` of policies have it:
    /// TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT.
    #[arg(long, value_name = "IDENTITY")]
    pub identity: Option<String>,
    /// The client's address, for policies that look at it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub client: IpAddr,
    /// Namespace of objects that name none.
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Names of the mesh.
    #[command(flatten)]
    pub mesh: MeshArgs,
}

/// Explains and prints.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let asked = Asked::new(&args.method, &args.url, &args.headers).context("can't read the request")?;
    let asked = match args.proxy {
        Some(port) => asked.of_proxy(port, args.proxytunnel).context("can't read the request")?,
        None => asked,
    };
    let asked = Asked {
        port_offset: args.port_offset,
        address: args.address.or(asked.address),
        identity: args.identity.clone(),
        client: args.client,
        ..asked
    };
    let (project, _) = Project::load_in(&args.dir, &args.namespace, &args.mesh)?;
    let explanation = explain(&project, &asked);
    output::print_as(args.output, &explanation, Explanation::to_text)?;
    Ok(if explanation.answer.is_served { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What would happen to the request.
pub fn explain(project: &Project, asked: &Asked) -> Explanation {
    let mut places = Places::new(project.folder());
    let mut explanation = Explanation::of(asked);
    match steps(project, asked, &mut places, &mut explanation) {
        Ok(answer) | Err(answer) => explanation.answer = answer,
    }
    explanation.notes.extend(of_certificates(project, asked));
    let errors =
        project.findings().iter().filter(|it| it.severity == crate::finding::Severity::Error).count();
    if errors > 0 && !explanation.answer.is_served {
        let (errors, root) = (output::counted(errors, "error"), project.folder().root().display());
        explanation.notes.push(format!("the folder has {errors}: sluice check {root}"));
    }
    explanation
}

/// What issuers of certificates have to do with the request.
fn of_certificates(project: &Project, asked: &Asked) -> Vec<String> {
    let mut notes = Vec::new();
    if asked.path.starts_with(HTTP_PREFIX) && !project.translator().orders().issuers.is_empty() {
        let outcome = Outcome::Challenge.word();
        notes.push(format!(
            "the token of a challenge is answered here before any route, while there is one ({outcome})"
        ));
    }
    let name = asked.tls_name().filter(|_| asked.is_tls).unwrap_or_default();
    let own = project.snapshot().listeners.values().filter(|it| it.hostname.matches(name));
    let found =
        own.filter_map(|it| Some((it, it.protocol.tls()?))).max_by_key(|(it, _)| length(&it.hostname));
    if let Some((listener, tls)) = found {
        let origin = &listener.origin;
        if tls.on_demand.is_some() {
            notes.push(format!("{origin} has a certificate obtained for a name at its first handshake"));
        } else if tls.certificates.is_empty() && !tls.self_signed_meanwhile {
            notes.push(format!("{origin} waits for its certificate: handshakes are refused until then"));
        }
    }
    notes
}

/// How much of a host a pattern says.
fn length(pattern: &HostPattern) -> usize {
    match pattern {
        HostPattern::Any => 0,
        HostPattern::Wildcard(suffix) => 1 + suffix.len(),
        HostPattern::Exact(_) => usize::MAX,
    }
}

/// The way of the request. Both ends are answers; an early one comes by `?`.
fn steps(
    project: &Project,
    asked: &Asked,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Result<Answer, Answer> {
    if let Some(proxied) = &asked.proxied {
        return forward::steps(project, (asked, proxied), places, explanation);
    }
    if asked.carrier != asked::Carrier::Requests {
        return stream::steps(project, asked, places, explanation);
    }
    if asked.method == "CONNECT" {
        return Err(Answer::refused(Outcome::MethodRefused, "CONNECT is no method of a gateway"));
    }
    let snapshot = project.snapshot();
    let runtime = port::compile(snapshot, asked.port_offset);
    let port = port::choose(&runtime, asked, places, explanation)?;
    let view = RequestView {
        method: &asked.method,
        authority: &asked.host,
        path: &asked.path,
        query: asked.query.as_deref(),
        headers: &asked.headers,
        is_https_target: false,
        server_name: asked.is_tls.then(|| asked.tls_name()),
    };
    let decision = decide(port, view);
    let refusals = authorization::judge(port, view, asked, places, explanation);
    if let Some(refused) = refusals.token {
        return Err(refused);
    }
    match (decision, refusals.policies) {
        (Decision::Answer(Outcome::NoRoute), Some(refused)) => Err(refused),
        (Decision::Answer(outcome), _) => {
            Err(table::refused(outcome, project, port, asked, places, explanation))
        }
        (Decision::Rule(matched), refused) => {
            explanation.listener = Some(port::listener(matched.listener, places));
            table::describe(&matched, places, explanation);
            if let Some(refused) = refused {
                return Err(refused);
            }
            answer::Chosen { snapshot, asked, port, matched: &matched }.answer(places, explanation)
        }
    }
}

#[cfg(test)]
mod tests;
