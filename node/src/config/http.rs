//! `[http]`: where the site's pages and API listen, and who may sign in.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::Secret;
use super::check;
use super::table::{Spot, Table};
use super::types::{Http, Role, Tls, Token, User};

pub fn read(table: Option<Table>) -> Option<Http> {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let Some(table) = table else {
        return Some(Http { listen: default, tls: None, users: Vec::new(), tokens: Vec::new() });
    };
    let listen = match table.text("listen") {
        Some(text) => check::socket(table.report(), text),
        None => Some(Spot { value: default, line: 0, field: table.field("listen"), written: String::new() }),
    };
    let tls = read_tls(&table);
    let mut seen = BTreeMap::new();
    let users: Vec<Option<User>> =
        table.tables("user").into_iter().map(|user| read_user(user, &mut seen)).collect();
    let tokens: Vec<Option<Token>> =
        table.tables("token").into_iter().map(|token| read_token(token, &mut seen)).collect();
    if let Some(listen) = &listen
        && !listen.value.ip().is_loopback()
        && (matches!(tls, Ok(None)) || users.is_empty() && tokens.is_empty())
    {
        let text = "listens beyond loopback without TLS and sign-in; add tls_cert, tls_key and [[http.user]], \
                    or listen on 127.0.0.1";
        listen.refuse(table.report(), "insecure-listen", text);
    }
    table.finish();
    Some(Http {
        listen: listen?.value,
        tls: tls.ok()?,
        users: users.into_iter().collect::<Option<_>>()?,
        tokens: tokens.into_iter().collect::<Option<_>>()?,
    })
}

/// `tls_cert` and `tls_key`: both or neither. `Err`: a finding was made.
pub fn read_tls(table: &Table) -> Result<Option<Tls>, ()> {
    match (table.path("tls_cert"), table.path("tls_key")) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            let right = [check::certificate(table.report(), &cert), check::private_key(table.report(), &key)];
            let tls = Tls { cert: cert.value, key: key.value };
            if right == [true, true] { Ok(Some(tls)) } else { Err(()) }
        }
        (Some(one), None) | (None, Some(one)) => {
            one.refuse(
                table.report(),
                "missing-field",
                "tls_cert and tls_key go together; add the other one",
            );
            Err(())
        }
    }
}

/// `tls_ca`: authorities to trust besides the system's.
pub fn read_tls_ca(table: &Table) -> Option<std::path::PathBuf> {
    let file = table.path("tls_ca")?;
    check::certificate(table.report(), &file);
    Some(file.value)
}

fn read_user(table: Table, seen: &mut BTreeMap<String, usize>) -> Option<User> {
    let name = read_name(&table, seen);
    let password_hash = read_hash(&table, "password_hash");
    let roles = read_roles(&table);
    table.finish();
    Some(User { name: name?, password_hash: password_hash?, roles: roles? })
}

fn read_token(table: Table, seen: &mut BTreeMap<String, usize>) -> Option<Token> {
    let name = read_name(&table, seen);
    let token_hash = read_hash(&table, "token_hash");
    let roles = read_roles(&table);
    table.finish();
    Some(Token { name: name?, token_hash: token_hash?, roles: roles? })
}

/// Users and tokens share one name space, because acknowledgements carry the name alone.
fn read_name(table: &Table, seen: &mut BTreeMap<String, usize>) -> Option<String> {
    let name = table.required("name")?;
    check::first(table.report(), &name, seen, "user or token");
    Some(name.value)
}

fn read_hash(table: &Table, key: &'static str) -> Option<Secret> {
    let hash = table.secret(key)?;
    let right = argon2::PasswordHash::new(hash.value.expose())
        .is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"));
    if !right {
        hash.refuse(
            table.report(),
            "value-invalid",
            "is no argon2 hash; make one with `medulla password hash`",
        );
        return None;
    }
    Some(hash.value)
}

fn read_roles(table: &Table) -> Option<Vec<Role>> {
    let roles = table.texts("roles");
    if roles.is_empty() {
        table.refuse(
            "missing-field",
            "`roles` is missing or empty; give at least one of care, engineer, admin, feed",
        );
        return None;
    }
    let role = |text: &Spot<String>| {
        let found = Role::ALL.iter().find(|(name, _)| *name == text.value).map(|(_, role)| *role);
        if found.is_none() {
            let text_of = format!("no role `{}`; use care, engineer, admin or feed", text.written);
            text.refuse(table.report(), "value-invalid", text_of);
        }
        found
    };
    let roles: Vec<Option<Role>> = roles.iter().map(role).collect();
    roles.into_iter().collect()
}
