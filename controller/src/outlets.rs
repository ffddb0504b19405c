//! Where the reconciler's results go in a running controller: configuration to the distributor, plans to the
//! provisioner, orders to the engine of certificates.

use crate::acme;
use crate::admin;
use crate::names;
use crate::provision::Provisioner;
use crate::reconcile::{Outlets, Standing};
use crate::serve::Distributor;
use crate::staple::Stapler;
use crate::tickets::Tickets;
use sluice_acme::WantedSet;
use sluice_crds::ObjectRef;
use sluice_ir::{Delta, GatewayKey, Locality, Resource};
use sluice_translate::{GatewayPlan, Management, Orders};
use std::sync::Arc;
use tokio::sync::watch;

/// See the module.
pub(crate) struct Parts {
    pub(crate) distributor: Distributor,
    pub(crate) provisioner: Provisioner,
    pub(crate) tickets: Tickets,
    pub(crate) stapler: Stapler,
    /// What the engine is to obtain.
    pub(crate) wanted: watch::Sender<Arc<WantedSet>>,
    /// Which names of handshakes may be asked for.
    pub(crate) offers: watch::Sender<Arc<acme::Offers>>,
}

impl Outlets for Parts {
    /// The translation knows what objects say. What others say is put in here: each Gateway's secrets for session
    /// tickets, and what the authorities of certificates respond.
    fn publish(&mut self, delta: &Delta) {
        let with_tickets = |resource: &Resource| match resource {
            Resource::Gateway(gateway) => {
                let mut gateway = gateway.clone();
                let secrets = self.tickets.of(&gateway.key);
                Arc::make_mut(&mut gateway).ticket_secrets = secrets;
                Resource::Gateway(gateway)
            }
            other => other.clone(),
        };
        let Delta { upserts, removals } = self.stapler.attach(delta);
        let upserts = upserts.iter().map(with_tickets).collect();
        self.distributor.publish(&Delta { upserts, removals });
    }

    fn place(&mut self, node: &str, place: Option<Locality>) {
        self.distributor.place(node, place);
    }

    fn set_complete(&mut self) {
        self.distributor.set_complete();
        self.provisioner.set_complete();
    }

    fn standing(&self, gateway: &GatewayKey) -> Standing {
        let sync = self.distributor.sync(gateway);
        Standing { is_programmed: sync.programmed, is_settling: sync.settling }
    }

    fn order(&mut self, orders: &Orders) {
        self.offers.send_replace(Arc::new(acme::Offers::new(&orders.on_demand)));
        self.wanted.send_replace(Arc::new(acme::wanted_set(orders)));
    }

    fn want(&mut self, gateway: &ObjectRef, plan: Option<&GatewayPlan>) {
        let key = GatewayKey::new(format!("{}/{}", gateway.namespace, gateway.name));
        // Before anything is made: a data plane may come at once.
        self.distributor.set_account(&key, plan.map(account));
        self.provisioner.want(gateway.clone(), plan.cloned());
    }
}

/// The ServiceAccount that the data planes of a Gateway have.
fn account(plan: &GatewayPlan) -> String {
    let own = || names::infrastructure(&plan.reference.name, &plan.class);
    match &plan.management {
        Management::Managed(_) => own(),
        Management::Unmanaged { service_account, .. } => service_account.clone().unwrap_or_else(own),
    }
}

/// How all data planes stand, for the admin server.
pub(crate) fn sync(distributor: &Distributor) -> admin::Sync {
    let all = distributor.all();
    let connected = all.iter().map(|(_, it)| it.connected).sum();
    let in_sync: u32 = all.iter().map(|(_, it)| it.in_sync).sum();
    let page = serde_json::to_string(&all).unwrap_or_default();
    admin::Sync { connected, behind: u32::saturating_sub(connected, in_sync), page }
}
