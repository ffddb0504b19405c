//! Proves the names of an order: sets up a challenge for each name that is not proven yet, then tells the authority to
//! look.

use super::Job;
use super::keys;
use super::record::{Kept, Placed};
use crate::client::problem;
use crate::client::wire::Wire;
use crate::dns::txt;
use crate::plan::solvers;
use crate::trouble::{Retry, Trouble};
use crate::{Answer, Challenge, Dns01, Reason, Secret, SolverKind};
use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, ChallengeStatus, ChallengeType, Error, Identifier,
    KeyAuthorization, Order,
};

/// How one name is proven.
struct Proof {
    kind: ChallengeType,
    placed: Placed,
    setup: Setup,
}

/// What must be there before the authority looks.
enum Setup {
    DataPlane(Challenge),
    Zone { solver: Dns01, fqdn: String, value: String },
}

/// Sets up every challenge that is open and tells the authority. Done twice it does no harm. False when a name of the
/// order can't be proven any more.
pub(super) async fn solve(
    job: &Job<'_>,
    kept: &mut Kept<'_>,
    order: &mut Order,
    wire: &Wire,
) -> Result<bool, Trouble> {
    let Some(proofs) = proofs(job, order, wire).await? else { return Ok(false) };
    for proof in &proofs {
        if !kept.record.placed.contains(&proof.placed) {
            kept.record.placed.push(proof.placed.clone());
        }
    }
    kept.save().await?;
    let names: Vec<&str> = job.wanted.names.iter().map(String::as_str).collect();
    (job.report)(Reason::Challenge, format!("the challenges of {} are being set up", names.join(", ")));
    let set_up = futures::future::join_all(proofs.iter().map(|proof| set_up(job, &proof.setup))).await;
    set_up.into_iter().collect::<Result<(), Trouble>>()?;
    tell(job, order, wire, &proofs).await?;
    Ok(true)
}

/// A proof for each name that is not proven, in the order of the authorizations. None when one of them is over.
async fn proofs(job: &Job<'_>, order: &mut Order, wire: &Wire) -> Result<Option<Vec<Proof>>, Trouble> {
    let mut proofs = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization.map_err(|error| job.trouble(&error, Some(wire)))?;
        match authorization.status {
            AuthorizationStatus::Valid => {}
            AuthorizationStatus::Pending => proofs.push(proof(job, authorization).await?),
            AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated => return Ok(None),
        }
    }
    Ok(Some(proofs))
}

/// Chooses the first solver of the issuer whose challenge the authority offers.
async fn proof(job: &Job<'_>, mut authorization: AuthorizationHandle<'_>) -> Result<Proof, Trouble> {
    let refused = |text: String| Trouble::new(Reason::Name, Retry::Backoff, text);
    let name = authorization.identifier().to_string();
    let host = match authorization.identifier().identifier {
        Identifier::Dns(host) => host.clone(),
        other => return Err(refused(format!("the authority asks for {other:?}, which is no DNS name"))),
    };
    let able = solvers::for_name(job.issuer, &name).map_err(refused)?;
    let is_offered =
        |solver: &SolverKind| authorization.challenges.iter().any(|it| it.r#type == kind(solver));
    let Some(solver) = able.into_iter().map(|it| &it.kind).find(|it| is_offered(it)) else {
        let issuer = &job.issuer.name;
        return Err(refused(format!(
            "the authority offers no challenge for {name} that issuer {issuer} has a solver for"
        )));
    };
    let kind = kind(solver);
    let Some(challenge) = authorization.challenge(kind.clone()) else {
        return Err(refused(format!("the authority offers no challenge for {name}")));
    };
    let (token, answer) = (challenge.token.clone(), challenge.key_authorization());
    let setup = setup(job, solver, (&host, token), &answer).await?;
    Ok(Proof { kind, placed: placed(job, name, &setup), setup })
}

const fn kind(solver: &SolverKind) -> ChallengeType {
    match solver {
        SolverKind::Http01 => ChallengeType::Http01,
        SolverKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        SolverKind::Dns01(_) => ChallengeType::Dns01,
    }
}

async fn setup(
    job: &Job<'_>,
    solver: &SolverKind,
    (host, token): (&str, String),
    answer: &KeyAuthorization,
) -> Result<Setup, Trouble> {
    let host = host.to_owned();
    match solver {
        SolverKind::Http01 => {
            let key_authorization = Secret::new(answer.as_str());
            Ok(Setup::DataPlane(Challenge { host, answer: Answer::Http { token, key_authorization } }))
        }
        SolverKind::TlsAlpn01 => {
            let made = keys::tls_alpn(&host, answer.digest().as_ref());
            let answer = made.map_err(|error| Trouble::new(Reason::Challenge, Retry::Soon, error))?;
            Ok(Setup::DataPlane(Challenge { host, answer }))
        }
        SolverKind::Dns01(solver) => {
            let fqdn = txt::place(job.issuer, &host).await;
            let fqdn = fqdn.map_err(|error| Trouble::new(Reason::Dns, Retry::Soon, error))?;
            Ok(Setup::Zone { solver: solver.clone(), fqdn, value: answer.dns_value() })
        }
    }
}

fn placed(job: &Job<'_>, name: String, setup: &Setup) -> Placed {
    let scope = job.wanted.scope.to_string();
    match setup {
        Setup::DataPlane(Challenge { host, answer: Answer::Http { token, .. } }) => {
            Placed::Http { scope, host: host.clone(), token: token.clone() }
        }
        Setup::DataPlane(Challenge { host, answer: Answer::TlsAlpn { .. } }) => {
            Placed::TlsAlpn { scope, host: host.clone() }
        }
        Setup::Zone { fqdn, value, .. } => Placed::Txt { name, fqdn: fqdn.clone(), value: value.clone() },
    }
}

async fn set_up(job: &Job<'_>, setup: &Setup) -> Result<(), Trouble> {
    match setup {
        Setup::DataPlane(challenge) => Ok(job.challenges.present(&job.wanted.scope, challenge).await?),
        Setup::Zone { solver, fqdn, value } => {
            let set = txt::set(job.issuer, solver, fqdn, value).await;
            set.map_err(|error| Trouble::new(Reason::Dns, Retry::Soon, error))
        }
    }
}

/// Tells the authority to look at every challenge that waits. One that does not wait any more was told by another
/// engine.
async fn tell(job: &Job<'_>, order: &mut Order, wire: &Wire, proofs: &[Proof]) -> Result<(), Trouble> {
    let Err(error) = set_ready(order, proofs).await else { return Ok(()) };
    let trouble = job.trouble(&error, Some(wire));
    order.refresh().await.map_err(|error| job.trouble(&error, Some(wire)))?;
    let is_open = is_open(order, proofs).await.map_err(|error| job.trouble(&error, Some(wire)))?;
    if is_open { Err(trouble) } else { Ok(()) }
}

async fn set_ready(order: &mut Order, proofs: &[Proof]) -> Result<(), Error> {
    let mut proofs = proofs.iter();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let Some(proof) = proofs.next() else { break };
        let Some(mut challenge) = authorization.challenge(proof.kind.clone()) else { continue };
        if challenge.status == ChallengeStatus::Pending {
            challenge.set_ready().await?;
        }
    }
    Ok(())
}

/// Whether a challenge of the order still waits to be told.
async fn is_open(order: &mut Order, proofs: &[Proof]) -> Result<bool, Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization?;
        let waits = |kind: &ChallengeType| {
            let of_kind = authorization.challenges.iter().find(|it| it.r#type == *kind);
            of_kind.is_some_and(|it| it.status == ChallengeStatus::Pending)
        };
        if authorization.status == AuthorizationStatus::Pending && proofs.iter().any(|it| waits(&it.kind)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the authority found wrong, with the name it is about.
pub(super) async fn why_invalid(job: &Job<'_>, order: &mut Order) -> Trouble {
    let now = job.settings.clock.now();
    let of_order = order.state().error.clone();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(authorization) = authorization else { break };
        let error = authorization.challenges.iter().find_map(|it| it.error.as_ref());
        if let Some(error) = error {
            let trouble = problem::of_problem(error, None, now);
            let message = format!("{} is not proven: {}", authorization.identifier(), trouble.message);
            return Trouble { message, retry: Retry::Backoff, ..trouble };
        }
    }
    match of_order {
        Some(error) => Trouble { retry: Retry::Backoff, ..problem::of_problem(&error, None, now) },
        None => Trouble::new(
            Reason::Authority,
            Retry::Backoff,
            "the authority ended the order without saying why",
        ),
    }
}
