//! The wiring: starts every part, and stops them in an order that leaves nothing half done.

use crate::acme::{self, AcmeOptions};
use crate::admin::{self, Admin, Metrics, Readiness};
use crate::backoff::Backoff;
use crate::ca::Authority;
use crate::identity::{self, AuthorityOptions, Distribution};
use crate::inject::webhook;
use crate::lease::{self, LeaseOptions};
use crate::outlets::{self, Parts};
use crate::provision::{ProvisionOptions, Provisioner};
use crate::reconcile::{Input, QUEUE, Reconciler};
use crate::serve::{
    self, AUDIENCE, Distributor, MESH_AUDIENCE, Names, Others, PeerIdentity, PeerOptions, ServeOptions,
    TokenReviewer,
};
use crate::settings::Settings;
use crate::staple::Stapler;
use crate::status::Writer;
use crate::tickets;
use crate::watch::{self, Served};
use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sluice_translate::Options;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Name of the Lease, and of the ServiceAccount that all replicas share.
const NAME: &str = "sluice-controller";
/// Longest time that parts get to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time to connect to the API server: it is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Parts that run until they are told to end; each gives its name when it does.
struct Running {
    tasks: JoinSet<&'static str>,
    stop: CancellationToken,
}

impl Running {
    fn start(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            part.await;
            name
        });
    }
}

/// Runs the controller until `stop`.
///
/// # Errors
/// When a port can't be bound or the API server's address is not known, and when a part ends that must not.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<()> {
    let client = connect(settings.kubeconfig.as_deref()).await?;
    let listener = TcpListener::bind(settings.admin)
        .await
        .with_context(|| format!("the admin port {} can't be bound; see --admin", settings.admin))?;
    let (metrics, readiness) = (Arc::new(Metrics::default()), Arc::new(Readiness::default()));
    let (sink, inputs) = mpsc::channel(QUEUE);
    let distributor = Distributor::new();
    // Probes are answered first: what comes now waits for the API server.
    let of_sync = distributor.clone();
    let admin = Arc::new(Admin {
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        sync: Box::new(move || outlets::sync(&of_sync)),
        reconciler: sink.clone(),
    });
    let admin_stop = CancellationToken::new();
    let admin_task = tokio::spawn(admin::serve(listener, admin, admin_stop.clone()));

    let mut running = Running { tasks: JoinSet::new(), stop: stop.clone() };
    let started = tokio::select! {
        () = stop.cancelled() => Ok(()),
        started = start(&mut running, &settings, client, distributor, (sink, inputs), metrics, readiness.clone()) => {
            started
        }
    };
    let ended = match started {
        Ok(()) => tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = running.tasks.join_next() => Err(unexpected(ended)),
        },
        Err(error) => Err(error),
    };
    readiness.set_stopping();
    stop.cancel();
    let all = async {
        // Probes are answered until the rest has ended; the admin server also holds the reconciler's channel open.
        while running.tasks.len() > 1 && running.tasks.join_next().await.is_some() {}
        admin_stop.cancel();
        let _ = admin_task.await;
        while running.tasks.join_next().await.is_some() {}
    };
    if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
        tracing::warn!("some parts did not end in time");
    }
    ended
}

fn unexpected(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(part)) => anyhow::anyhow!("{part} ended unexpectedly"),
        Some(Err(error)) => anyhow::Error::new(error).context("a part of the controller failed"),
        None => anyhow::anyhow!("nothing runs"),
    }
}

/// Starts all parts; waits for the API server where a part can't do without.
async fn start(
    running: &mut Running,
    settings: &Settings,
    client: Client,
    distributor: Distributor,
    (sink, inputs): (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
) -> Result<()> {
    let stop = running.stop.clone();
    let (leads, is_leader) = channel::channel(false);
    let served = Served::default();
    let writer = Writer::new(&settings.controller_name, metrics.clone());
    let authority = authority(&client, settings).await;
    let authorities = authority.bundle();
    let serving = authority.serving();
    running.start("the certificate authority", authority.run(stop.clone()));

    let issuer = workloads(running, &client, settings, &metrics, (&authorities, &is_leader));

    let (tickets, keeper) = tickets::load(client.clone(), &settings.namespace).await;
    running.start("the secrets of session tickets", keeper.run(stop.clone()));
    let news = tell_tickets(tickets.clone(), sink.clone(), stop.clone());
    running.start("the news of session tickets", news);

    let injection = (settings.webhook, settings.inject());
    let (webhook, answering) =
        webhook::serve(injection.0, &serving, injection.1, metrics.clone(), stop.clone()).await?;
    running.start("the webhook", answering);
    let registration =
        webhook::keep_registration(client.clone(), authorities.clone(), is_leader.clone(), stop.clone());
    running.start("the registration of the webhook", registration);
    tracing::info!(%webhook, "new pods are asked about");

    let stapler = Stapler::default();
    running.start("the OCSP responses", stapler.clone().run(stop.clone()));
    running.start("the news of OCSP responses", tell_staples(stapler.clone(), sink.clone(), stop.clone()));

    let provision = ProvisionOptions {
        image: settings.gateway_image.clone(),
        controller: format!("https://{}:{}", settings.server_name(), settings.serve.port()),
        ca: authorities.clone(),
        is_leader: is_leader.clone(),
    };
    let (provisioner, worker, facts) = Provisioner::new(client.clone(), provision);
    running.start("the provisioner", worker.run(stop.clone()));
    running.start("the news of infrastructure", tell_facts(facts, sink.clone(), stop.clone()));

    let options = Options {
        controller_name: settings.controller_name.clone(),
        standalone: false,
        root_namespace: settings.root_namespace.clone(),
        cluster_domain: settings.cluster_domain.clone(),
        trust_domains: settings.trust_domains(),
        mesh: settings.mesh.option(),
    };
    let (wanted, of_engine) = channel::channel(Arc::default());
    let (offers, of_names) = channel::channel(Arc::default());
    let parts = Parts { distributor: distributor.clone(), provisioner, wanted, offers, tickets, stapler };
    let reconciler = Reconciler::new(options, parts, writer.clone(), metrics.clone(), readiness.clone());
    running.tasks.spawn_blocking(move || {
        reconciler.run(inputs);
        "the reconciler"
    });
    running.start("the news of data planes", tell_sync(distributor.clone(), sink.clone(), stop.clone()));
    running.start("the news of the lease", tell_leader(is_leader.clone(), sink.clone(), stop.clone()));
    let challenges =
        acme::watch_challenges(client.clone(), settings.namespace.clone(), sink.clone(), stop.clone());
    running.start("the watch of challenges", challenges);
    let (engine, of_leader) = channel::channel(None);
    let options = AcmeOptions {
        namespace: settings.namespace.clone(),
        identity: settings.identity(),
        wanted: of_engine,
        is_leader: is_leader.clone(),
        engine,
    };
    let orders = acme::run(client.clone(), distributor.clone(), options, sink.clone(), stop.clone());
    running.start("the engine of certificates", orders);
    let writing = writer.run(client.clone(), served.clone(), is_leader, stop.clone());
    running.start("the writer of statuses", writing);
    let watching = watch::run(client.clone(), sink, metrics.clone(), served, stop.clone());
    running.start("the watches", watching);
    let lease = LeaseOptions {
        namespace: settings.namespace.clone(),
        name: NAME.to_owned(),
        identity: settings.identity(),
    };
    running.start("the lease", lease::run(client.clone(), lease, leads, metrics, stop.clone()));

    let mut options = ServeOptions::new(settings.serve, settings.identity());
    options.peers =
        Some(PeerIdentity { namespace: settings.namespace.clone(), service_account: NAME.to_owned() });
    let others = Others::default();
    options.names = Some(Names::new(of_names, of_leader, others.clone()));
    options.token_file.clone_from(&settings.token_file);
    options.issuer = Some(issuer);
    let reviewer = Arc::new(TokenReviewer::new(client.clone(), &[AUDIENCE, MESH_AUDIENCE]));
    let bound = serve::serve(distributor.clone(), options, reviewer, serving, stop.clone()).await?;
    readiness.set_serving();
    tracing::info!(serve = %bound, "gateways are served");
    if !settings.token_file.exists() {
        let file = settings.token_file.display();
        tracing::info!(%file, "no token to speak with other replicas; see --token-file");
        return Ok(());
    }
    let peers = PeerOptions {
        namespace: settings.namespace.clone(),
        service: settings.service.clone(),
        port: bound.port(),
        replica: settings.identity(),
        server_name: settings.server_name(),
        token_file: settings.token_file.clone(),
        authorities,
        others,
    };
    running.start("the watch of replicas", serve::watch_peers(client, distributor, peers, stop));
    Ok(())
}

/// The authority of workloads, the ConfigMaps with its roots, and what issues certificates by it. Nothing waits for it:
/// whoever has no workloads must not notice it.
fn workloads(
    running: &mut Running,
    client: &Client,
    settings: &Settings,
    metrics: &Arc<Metrics>,
    (controller, is_leader): (&channel::Receiver<String>, &channel::Receiver<bool>),
) -> Arc<identity::Issuer> {
    let options = AuthorityOptions {
        namespace: settings.namespace.clone(),
        root_namespace: settings.root_namespace.clone(),
        domains: settings.domains(),
        root_wait: Duration::from_secs(settings.root_wait_seconds),
    };
    let (keeper, authority) = identity::Keeper::new(client.clone(), options, metrics.clone());
    running.start("the authority of workloads", keeper.run(running.stop.clone()));
    let distribution = Distribution {
        authority: authority.clone(),
        controller: controller.clone(),
        is_leader: is_leader.clone(),
    };
    let writing = identity::distribute(client.clone(), distribution, running.stop.clone());
    running.start("the roots of workloads", writing);
    let longest = Duration::from_secs(settings.certificate_hours * 3600);
    Arc::new(identity::Issuer::new(authority, longest, metrics.clone()))
}

/// The certificate authority, as soon as the API server has it.
async fn authority(client: &Client, settings: &Settings) -> Authority {
    let name = settings.server_name();
    let names = vec![
        name.clone(),
        format!("{name}.{}", settings.cluster_domain),
        format!("{}.{}", settings.service, settings.namespace),
    ];
    let mut backoff = Backoff::of_api();
    let mut is_told = false;
    loop {
        match Authority::load(client.clone(), &settings.namespace, names.clone()).await {
            Ok(authority) => return authority,
            Err(error) => {
                if !is_told {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "the certificate authority can't be read or made yet; trying on");
                }
                is_told = true;
                backoff.wait().await;
            }
        }
    }
}

/// Tells the reconciler who leads, also when that changed there and back.
async fn tell_leader(
    mut is_leader: channel::Receiver<bool>,
    sink: mpsc::Sender<Input>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = is_leader.changed() => if changed.is_err() { return },
        }
        let leads = *is_leader.borrow_and_update();
        if sink.send(Input::Leader(leads)).await.is_err() {
            return;
        }
    }
}

/// Tells the reconciler that data planes came, went or acknowledged. What changes while it is busy is one word.
async fn tell_sync(distributor: Distributor, sink: mpsc::Sender<Input>, stop: CancellationToken) {
    let mut changes = distributor.changes();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        if sink.send(Input::SyncChanged).await.is_err() {
            return;
        }
    }
}

/// Tells the reconciler that the secrets for session tickets are others.
async fn tell_tickets(mut tickets: tickets::Tickets, sink: mpsc::Sender<Input>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = tickets.changed() => if !changed { return },
        }
        if sink.send(Input::TicketsChanged).await.is_err() {
            return;
        }
    }
}

/// Tells the reconciler what is new of OCSP responses.
async fn tell_staples(stapler: Stapler, sink: mpsc::Sender<Input>, stop: CancellationToken) {
    let all = async { while sink.send(Input::Staples(stapler.news().await)).await.is_ok() {} };
    stop.run_until_cancelled(all).await;
}

/// Tells the reconciler of addresses.
async fn tell_facts(
    mut facts: mpsc::Receiver<(sluice_crds::ObjectRef, sluice_translate::Infrastructure)>,
    sink: mpsc::Sender<Input>,
    stop: CancellationToken,
) {
    loop {
        let fact = tokio::select! {
            () = stop.cancelled() => return,
            fact = facts.recv() => fact,
        };
        let Some((gateway, known)) = fact else {
            // Its worker has ended, which is told elsewhere.
            return stop.cancelled().await;
        };
        if sink.send(Input::Infrastructure(gateway, known)).await.is_err() {
            return;
        }
    }
}

async fn connect(kubeconfig: Option<&Path>) -> Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path);
            let read = read.with_context(|| format!("{} can't be read; see --kubeconfig", path.display()))?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await.context("no API server is configured; see --kubeconfig")?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Watches are silent for long; they have their own bound.
    config.read_timeout = None;
    Client::try_from(config).context("the connection to the API server can't be set up")
}
