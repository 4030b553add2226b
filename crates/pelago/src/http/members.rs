//! Questions about members, datacenters and servers: every answer says whose view it is and how old.

use super::{
    Api, Shared,
    fault::Fault,
    params::{Name, PAGE, Params},
    reply::reply,
};
use crate::model::{
    Clock, Comparison, Datacenter, DatacenterBody, DatacentersBody, Member, MemberBody,
    MemberDetail, MembersBody, ServersBody, ViewInfo, WhyBody, find, selected,
};
use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use pelago_node::api::{Answer, Mode, Scope, UNKNOWN_DATACENTER};
use pelago_proto::view;

/// Asks, and refuses datacenters that nobody knows.
async fn ask(shared: &Shared, mode: Mode, scope: Scope) -> Result<(Answer, ViewInfo), Fault> {
    let answer = shared.backend.ask(mode, scope.clone()).await;
    let info = ViewInfo::new(&answer, shared.backend.me());
    // A server says of a datacenter that it has never heard of it; that is not the same as one it cannot reach.
    let unknown = |name: &str| {
        info.causes.iter().all(|it| it.error == UNKNOWN_DATACENTER)
            || !info.partial.contains(&name.to_owned())
    };
    if let Scope::One(name) = &scope
        && !info.datacenters.contains_key(name.as_str())
        && unknown(name.as_str())
    {
        let known = shared
            .backend
            .snapshot()
            .view
            .datacenters
            .keys()
            .map(ToString::to_string)
            .collect();
        return Err(Fault::unknown_datacenter(name.as_str(), known));
    }
    Ok((answer, info))
}

fn members_of(answer: &Answer) -> impl Iterator<Item = &view::Member> {
    selected(answer)
        .into_values()
        .flat_map(|(datacenter, _)| datacenter.members.iter())
}

pub(super) async fn list(
    State(shared): Api,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let known = [
        "dc", "zone", "rack", "role", "status", "elected", "view", "limit", "cursor",
    ];
    let params = Params::read(query.as_deref(), &known)?;
    let (filter, limit) = (params.filter()?, params.limit()?);
    let (answer, view) = ask(&shared, params.mode()?, params.scope(Scope::Own)?).await?;
    let clock = Clock::from(&answer);
    let mut fitting: Vec<_> = members_of(&answer)
        .filter(|member| filter.fits(member))
        .collect();
    fitting.sort_by_key(|member| place(member));
    let total = fitting.len();
    if let Some(cursor) = params.get("cursor") {
        fitting.retain(|member| cursor_of(member).as_str() > cursor);
    }
    let more = fitting.len() > limit;
    fitting.truncate(limit);
    let next_cursor = fitting
        .last()
        .filter(|_| more)
        .map(|member| cursor_of(member));
    let members = fitting
        .into_iter()
        .map(|member| Member::new(member, &clock))
        .collect();
    let body = MembersBody {
        schema: MembersBody::SCHEMA.to_owned(),
        view,
        members,
        total,
        next_cursor,
    };
    Ok(reply(&headers, &body.view, &body))
}

fn place(member: &view::Member) -> impl Ord + use<> {
    cursor_of(member)
}

/// Names hold no character below `-`, and `!` is one: so the text sorts as the triple does.
fn cursor_of(member: &view::Member) -> String {
    format!("{}!{}!{}", member.datacenter, member.name, member.id)
}

pub(super) async fn one(
    State(shared): Api,
    Name(needle): Name,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let params = Params::read(query.as_deref(), &["view"])?;
    let (answer, view) = ask(&shared, params.mode()?, Scope::All).await?;
    let found = find(members_of(&answer), &needle).map_err(|error| Fault::find(&needle, &error))?;
    let member = MemberDetail::new(found, &Clock::from(&answer));
    let body = MemberBody {
        schema: MemberBody::SCHEMA.to_owned(),
        view,
        member,
    };
    Ok(reply(&headers, &body.view, &body))
}

pub(super) async fn why(
    State(shared): Api,
    Name(needle): Name,
    RawQuery(query): RawQuery,
) -> Result<Json<WhyBody>, Fault> {
    Params::read(query.as_deref(), &[])?;
    let (answer, _) = ask(&shared, Mode::Local, Scope::All).await?;
    let id = find(members_of(&answer), &needle)
        .map_err(|error| Fault::find(&needle, &error))?
        .id
        .to_string();
    let evidence = shared
        .backend
        .why(&id)
        .await
        .map_err(|error| Fault::find(&needle, &error))?;
    // A client has this from a server; a server from itself.
    let viewer = match answer.parts.as_slice() {
        [one] => one.viewer_name.to_string(),
        _ => shared.backend.me().name.to_string(),
    };
    Ok(Json(WhyBody::new(
        &evidence,
        viewer,
        std::time::SystemTime::now(),
    )))
}

pub(super) async fn datacenters(
    State(shared): Api,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let params = Params::read(query.as_deref(), &["view"])?;
    let (answer, view) = ask(&shared, params.mode()?, Scope::All).await?;
    let datacenters = selected(&answer)
        .into_values()
        .map(|(datacenter, _)| Datacenter::new(datacenter))
        .collect();
    let body = DatacentersBody {
        schema: DatacentersBody::SCHEMA.to_owned(),
        view,
        datacenters,
    };
    Ok(reply(&headers, &body.view, &body))
}

pub(super) async fn datacenter(
    State(shared): Api,
    Name(name): Name,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let params = Params::read(query.as_deref(), &["view"])?;
    let known = || {
        shared
            .backend
            .snapshot()
            .view
            .datacenters
            .keys()
            .map(ToString::to_string)
            .collect()
    };
    let Ok(scope) = name.parse().map(Scope::One) else {
        return Err(Fault::unknown_datacenter(&name, known()));
    };
    let (answer, view) = ask(&shared, params.mode()?, scope).await?;
    let Some((found, _)) = selected(&answer).remove(name.as_str()) else {
        return Err(Fault::unknown_datacenter(&name, known()));
    };
    let body = DatacenterBody {
        schema: DatacenterBody::SCHEMA.to_owned(),
        view,
        datacenter: Datacenter::new(found),
    };
    Ok(reply(&headers, &body.view, &body))
}

pub(super) async fn servers(
    State(shared): Api,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let params = Params::read(query.as_deref(), &["dc", "view"])?;
    let (answer, view) = ask(&shared, params.mode()?, params.scope(Scope::All)?).await?;
    let body = ServersBody::new(view, &answer);
    Ok(reply(&headers, &body.view, &body))
}

pub(super) async fn compare(
    State(shared): Api,
    RawQuery(query): RawQuery,
) -> Result<Json<Comparison>, Fault> {
    let params = Params::read(query.as_deref(), &["dc"])?;
    let (answer, _) = ask(&shared, Mode::All, params.scope(Scope::Own)?).await?;
    Ok(Json(Comparison::new(&answer)))
}

const _: () = assert!(
    PAGE <= 1_000,
    "the contract promises pages of at most 1,000"
);
