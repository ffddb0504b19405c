//! ServiceEntries: what of each field is not done (`judge`), whose hosts they are (`rivals`), the addresses that hosts are
//! given (`addresses`), and the status that tells all of it (`status`).

mod addresses;
mod judge;
mod rivals;
mod status;

pub(crate) use addresses::{Addresses, Wishes};
pub(crate) use status::compute as status;

use crate::model::{EntryModel, Resolution, is_wildcard};
use sluice_crds::{Name, ServiceEntry};
use std::net::IpAddr;

/// The addresses that an entry wants: hosts get some unless it has its own, says that it wants none, or leads to wherever
/// its clients go (Istio's rules).
pub(crate) fn wishes(model: &EntryModel, object: &ServiceEntry) -> Wishes {
    let given = object.status.iter().flat_map(|it| &it.addresses);
    let is_open = !matches!(model.resolution, Resolution::None | Resolution::Unknown)
        && model.spec.addresses.is_empty()
        && model.wants_address != Some(false);
    let is_host = |it: &&String| !is_wildcard(it) && crate::syntax::hostname(it, false).is_ok();
    let hosts = model.hosts.iter().filter(is_host).filter(|_| is_open);
    let given = given.filter_map(|it| {
        Some((Name::from(crate::model::host_name(&it.host)), it.value.parse::<IpAddr>().ok()?))
    });
    let own = model.networks.iter().filter(|it| it.prefix_len() == it.max_prefix_len()).map(|it| it.addr());
    Wishes {
        created_s: model.meta.created_s,
        hosts: hosts.map(Name::from).collect(),
        given: given.collect(),
        own: own.collect(),
    }
}
