//! What goes over the wire, and what the document says of it.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use shared_middleware::{identity::Role, token::Jwk};
use utoipa::{IntoParams, OpenApi as _, ToSchema, openapi::OpenApi};
use uuid::Uuid;

use crate::{app::TokenPair, domain::User};

/// Email and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Login)]
pub(super) struct LoginBody {
    #[schema(required, value_type = String, format = Email, max_length = 254,
        example = "testuser@test.com")]
    pub(super) email: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    #[schema(required, value_type = String, format = Password, min_length = 1, max_length = 1024,
        example = "password123")]
    pub(super) password: Option<SecretString>,
}

/// A refresh token that was not used yet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = Refresh)]
pub(super) struct RefreshBody {
    #[serde(default, deserialize_with = "secret")]
    #[schema(required, value_type = String, format = Password,
        example = "Yx0b3v8Zr1nq5pJ7kT2mW9sD4fG6hL8aQ3eR5tY7uI0")]
    pub(super) refresh_token: Option<SecretString>,
}

/// An access token, and what gives the next one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tokens)]
pub(super) struct TokensBody {
    /// A JWT (ES256), for the header `Authorization: Bearer`.
    #[schema(
        example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiIsImtpZCI6IuKApiJ9.eyJpc3MiOiLigKYifQ.sig"
    )]
    token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 900)]
    expires_in: i64,
    /// Opaque; gives a new pair once.
    #[schema(example = "Yx0b3v8Zr1nq5pJ7kT2mW9sD4fG6hL8aQ3eR5tY7uI0")]
    refresh_token: String,
    #[schema(value_type = RoleName)]
    role: Role,
}

/// The user behind a token.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub(super) struct MeBody {
    #[schema(example = "0198c5a2-7e1b-7c3d-9a4f-2b6d8e0f1a3c")]
    id: Uuid,
    #[schema(format = Email, example = "testuser@test.com")]
    email: String,
    #[schema(value_type = RoleName)]
    role: Role,
}

/// The public keys that verify access tokens: a JSON Web Key Set (RFC 7517).
#[derive(Serialize, ToSchema)]
#[schema(as = KeySet)]
pub(super) struct KeySetBody {
    /// P-256 keys; a token's header names one by its `kid`.
    #[schema(value_type = Vec<Object>, example = json!([{
        "kty": "EC", "crv": "P-256", "kid": "1800000000000-9f86d081", "alg": "ES256", "use": "sig",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }]))]
    pub(super) keys: Vec<Jwk>,
}

/// A user, as administrators see one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(super) struct UserBody {
    #[schema(example = "0198c5a2-7e1b-7c3d-9a4f-2b6d8e0f1a3c")]
    pub(super) id: Uuid,
    #[schema(format = Email, example = "clinician@test.com")]
    email: String,
    #[schema(value_type = RoleName)]
    role: Role,
    /// Whether signing in is refused.
    disabled: bool,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T08:15:30Z")]
    created_at: Timestamp,
}

/// A page of users, in the order in which they were added.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Users)]
pub(super) struct UsersBody {
    pub(super) users: Vec<UserBody>,
    /// For the next page; null on the last one.
    #[schema(required)]
    pub(super) next_cursor: Option<String>,
}

/// A user to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
pub(super) struct NewUserBody {
    /// Unique without regard to case.
    #[schema(required, value_type = String, format = Email, max_length = 254,
        example = "ann.lee@example.org")]
    pub(super) email: Option<String>,
    /// Not one of the most common.
    #[serde(default, deserialize_with = "secret")]
    #[schema(required, value_type = String, format = Password, min_length = 12, max_length = 256,
        example = "violet tram 19 umbrella")]
    pub(super) password: Option<SecretString>,
    #[schema(required, value_type = RoleName)]
    pub(super) role: Option<String>,
}

/// What is to be different; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
pub(super) struct ChangeBody {
    #[schema(value_type = Option<RoleName>)]
    pub(super) role: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    #[schema(value_type = Option<String>, format = Password, min_length = 12, max_length = 256,
        example = "umbrella 19 tram violet")]
    pub(super) password: Option<SecretString>,
    #[schema(example = true)]
    pub(super) disabled: Option<bool>,
}

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Users in a page.
    #[param(minimum = 1, maximum = 200, default = 20)]
    pub(super) size: Option<u32>,
    /// The `nextCursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// What a poll of the feed has already.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedQuery {
    #[serde(default)]
    pub(super) after: i64,
    #[serde(default)]
    pub(super) keys: String,
}

/// What a user may do: see the table of roles in the documentation.
#[derive(ToSchema)]
#[schema(as = Role, rename_all = "UPPERCASE", example = "CLINICIAN")]
#[expect(dead_code, reason = "only described: the role itself is the mesh's")]
pub(super) enum RoleName {
    Admin,
    Clinician,
    Receptionist,
    Billing,
    Auditor,
}

/// The document, before it has paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "MediSync auth",
        description = "Signs users in, and manages them.\n\nA login gives an access token, which \
            every other request shows, and a refresh token, which gives the next pair. Roles are \
            in the token; a change of role, password or state ends a user's sign-ins everywhere \
            within a second.",
    ),
    servers((url = "/", description = "The gateway")),
    components(schemas(RoleName)),
    tags(
        (name = "sign-in", description = "Login, refresh, logout, and who is behind a token."),
        (name = "users", description = "For ADMIN only."),
    ),
)]
struct Title;

// === impl ===

impl From<TokenPair> for TokensBody {
    fn from(pair: TokenPair) -> Self {
        Self {
            token: pair.access,
            token_type: "Bearer",
            expires_in: pair.expires_in_s,
            refresh_token: pair.refresh.expose().to_owned(),
            role: pair.role,
        }
    }
}

impl From<User> for MeBody {
    fn from(user: User) -> Self {
        Self { id: user.id, email: user.email.as_str().to_owned(), role: user.role }
    }
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email.as_str().to_owned(),
            role: user.role,
            disabled: user.disabled,
            created_at: user.created_at,
        }
    }
}

/// The document's title.
pub(super) fn title() -> OpenApi {
    Title::openapi()
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}
