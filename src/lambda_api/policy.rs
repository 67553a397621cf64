//! `/2015-03-31/functions/NAME/policy`: who else may invoke. Kept and given back as on AWS, so that
//! tools that write and read policies go on; nothing is decided by them here.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::LambdaApi;
use super::error::ApiError;
use super::name;
use super::request::{self, Qualified, violation};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Admin, Read};
use crate::function::LATEST;
use crate::published::POLICY;
use crate::store::Key;

/// Of a policy, in bytes.
const LIMIT: usize = 20_480;
const NOT_FOUND: &str = "The resource you requested does not exist.";

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/2015-03-31/functions/{name}/policy")
        .get(Read, get)
        .post(Admin, add)
        .at("/2015-03-31/functions/{name}/policy/{sid}")
        .delete(Admin, remove)
}

#[derive(Debug, Deserialize)]
struct Permission {
    #[serde(rename = "StatementId")]
    sid: Option<String>,
    #[serde(rename = "Action")]
    action: Option<String>,
    #[serde(rename = "Principal")]
    principal: Option<String>,
    #[serde(rename = "SourceArn")]
    source_arn: Option<String>,
    #[serde(rename = "SourceAccount")]
    source_account: Option<String>,
    #[serde(rename = "EventSourceToken")]
    event_source_token: Option<String>,
    #[serde(rename = "FunctionUrlAuthType")]
    url_auth_type: Option<String>,
    #[serde(rename = "InvokedViaFunctionUrl")]
    invoked_via_url: Option<bool>,
    #[serde(rename = "PrincipalOrgID")]
    organisation: Option<String>,
    #[serde(rename = "RevisionId")]
    revision_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Removal {
    #[serde(rename = "Qualifier")]
    qualifier: Option<String>,
    #[serde(rename = "RevisionId")]
    pub revision_id: Option<String>,
}

async fn add(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let asked: Permission = request::json(body, "AddPermission").await?;
    let named = request::function(&api, &headers, &name, query.qualifier.as_deref())?;
    if named.qualifier.as_deref() == Some(LATEST) {
        let message = "We currently do not support adding policies for $LATEST.";
        return Err(ApiError::InvalidParameter(message.to_owned()));
    }
    request::check_qualifier(&api, &named)?;
    let statement = asked.statement(&named.invoked_arn())?;
    let qualifier = named.qualifier.clone().unwrap_or_default();
    let key = Key { kind: POLICY, owner: &named.name, name: &qualifier };
    let (statement, _) = append(&api, key, statement, asked.revision_id, "GetPolicy").await?;
    Ok((StatusCode::CREATED, Json(json!({"Statement": statement}))))
}

impl Permission {
    fn statement(&self, resource: &str) -> Result<Value, ApiError> {
        let sid = check_sid(self.sid.as_deref())?;
        let action = required(self.action.as_deref(), "action")?;
        let valid = action == "*"
            || action.strip_prefix("lambda:").is_some_and(|rest| {
                rest == "*" || (!rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphabetic()))
            });
        if !valid {
            let pattern = "Member must satisfy regular expression pattern: (lambda:[*]|lambda:[a-zA-Z]+|[*])";
            return Err(violation(action, "action", pattern));
        }
        if let Some(auth_type) = &self.url_auth_type {
            request::check_choice(auth_type, "functionUrlAuthType", &["NONE", "AWS_IAM"])?;
        }
        let principal = principal(required(self.principal.as_deref(), "principal")?)?;
        let mut statement = json!({
            "Sid": sid,
            "Effect": "Allow",
            "Principal": principal,
            "Action": action,
            "Resource": resource,
        });
        let via_url = self.invoked_via_url.map(|via_url| via_url.to_string());
        let mut conditions: Map<String, Value> = Map::new();
        for (operator, name, value) in [
            ("StringEquals", "lambda:EventSourceToken", &self.event_source_token),
            ("StringEquals", "lambda:FunctionUrlAuthType", &self.url_auth_type),
            ("StringEquals", "aws:PrincipalOrgID", &self.organisation),
            ("StringEquals", "AWS:SourceAccount", &self.source_account),
            ("Bool", "lambda:InvokedViaFunctionUrl", &via_url),
            ("ArnLike", "AWS:SourceArn", &self.source_arn),
        ] {
            if let Some(value) = value {
                conditions.entry(operator).or_insert_with(|| json!({}))[name] = value.clone().into();
            }
        }
        if !conditions.is_empty() {
            statement["Condition"] = conditions.into();
        }
        Ok(statement)
    }
}

fn required<'a>(value: Option<&'a str>, field: &str) -> Result<&'a str, ApiError> {
    value.ok_or_else(|| {
        ApiError::Validation(format!(
            "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

pub fn check_sid(sid: Option<&str>) -> Result<&str, ApiError> {
    let sid = required(sid, "statementId")?;
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if sid.is_empty() || !sid.bytes().all(valid) {
        let constraint = "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)";
        return Err(violation(sid, "statementId", constraint));
    }
    request::check_length(sid, "statementId", 100)?;
    Ok(sid)
}

pub fn principal(principal: &str) -> Result<Value, ApiError> {
    let is_account = principal.len() == 12 && principal.bytes().all(|byte| byte.is_ascii_digit());
    match principal {
        "*" => Ok("*".into()),
        _ if is_account => Ok(json!({"AWS": format!("arn:aws:iam::{principal}:root")})),
        _ if principal.starts_with("arn:aws") => Ok(json!({"AWS": principal})),
        _ if principal.ends_with(".amazonaws.com") || principal.ends_with(".amazon.com") => {
            Ok(json!({"Service": principal}))
        }
        _ => Err(ApiError::InvalidParameter(
            "The provided principal was invalid. Please check the principal and try again.".to_owned(),
        )),
    }
}

/// Adds a statement to the policy at `key`. What it is now, as text, and the new revision.
pub async fn append(
    api: &LambdaApi,
    key: Key<'_>,
    statement: Value,
    revision: Option<String>,
    operation: &'static str,
) -> Result<(String, String), ApiError> {
    let change = move |policy: Option<Value>| -> Result<(Option<Value>, (String, String)), ApiError> {
        let mut policy = policy.unwrap_or_else(|| json!({"Statement": []}));
        check_revision(revision.as_deref(), &policy, operation)?;
        let sid = &statement["Sid"];
        let text = statement.to_string();
        let statements = policy["Statement"].as_array_mut().expect("it is a list");
        if statements.iter().any(|known| known["Sid"] == *sid) {
            return Err(request::conflict(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing \
                 statement.",
                sid.as_str().unwrap_or_default()
            )));
        }
        statements.push(statement);
        let size = document(&policy).len();
        if size > LIMIT {
            return Err(ApiError::Exception {
                status: StatusCode::BAD_REQUEST,
                code: "PolicyLengthExceededException",
                message: format!("The final policy size ({size}) is bigger than the limit ({LIMIT})."),
            });
        }
        let revision = uuid::Uuid::new_v4().to_string();
        policy["RevisionId"] = revision.clone().into();
        Ok((Some(policy), (text, revision)))
    };
    api.invoker.store().change_resource(key, change).await?
}

/// Takes a statement away; with the last one the policy is gone.
pub async fn take_away(
    api: &LambdaApi,
    key: Key<'_>,
    sid: String,
    revision: Option<String>,
    operation: &'static str,
) -> Result<(), ApiError> {
    let change = move |policy: Option<Value>| -> Result<(Option<Value>, ()), ApiError> {
        let none = || ApiError::NotFound("No policy is associated with the given resource.".to_owned());
        let mut policy = policy.ok_or_else(none)?;
        let statements = policy["Statement"].as_array_mut().expect("it is a list");
        let before = statements.len();
        statements.retain(|statement| statement["Sid"] != sid.as_str());
        let (after, found) = (statements.len(), statements.len() < before);
        if !found {
            return Err(ApiError::NotFound(format!("Statement {sid} is not found in resource policy.")));
        }
        check_revision(revision.as_deref(), &policy, operation)?;
        policy["RevisionId"] = uuid::Uuid::new_v4().to_string().into();
        Ok((Some(policy).filter(|_| after > 0), ()))
    };
    api.invoker.store().change_resource(key, change).await?
}

/// The answer of GetPolicy; `None`: there is no policy.
pub async fn read(api: &LambdaApi, key: Key<'_>) -> Result<Option<Value>, ApiError> {
    let policy = api.invoker.store().resource(key).await?;
    Ok(policy.map(|policy| json!({"Policy": document(&policy), "RevisionId": policy["RevisionId"]})))
}

fn check_revision(known: Option<&str>, policy: &Value, operation: &str) -> Result<(), ApiError> {
    match known {
        Some(known) if policy["RevisionId"] != known => Err(request::outdated(operation)),
        _ => Ok(()),
    }
}

fn document(policy: &Value) -> String {
    json!({"Version": "2012-10-17", "Id": "default", "Statement": policy["Statement"]}).to_string()
}

async fn get(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let named = name::parse(&api, &headers, &name, query.qualifier.as_deref())?;
    let qualifier = named.qualifier.clone().unwrap_or_default();
    let key = Key { kind: POLICY, owner: &named.name, name: &qualifier };
    let policy = if request::exists(&api, &named) { read(&api, key).await? } else { None };
    policy.map(Json).ok_or_else(|| ApiError::NotFound(NOT_FOUND.to_owned()))
}

async fn remove(
    State(api): State<LambdaApi>,
    Path((name, sid)): Path<(String, String)>,
    Query(query): Query<Removal>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let named = name::parse(&api, &headers, &name, query.qualifier.as_deref())?;
    if !request::exists(&api, &named) {
        return Err(ApiError::NotFound(format!("No policy found for: {}", named.arn)));
    }
    let qualifier = named.qualifier.clone().unwrap_or_default();
    let key = Key { kind: POLICY, owner: &named.name, name: &qualifier };
    take_away(&api, key, sid, query.revision_id, "GetPolicy").await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_services_accounts_arns_or_everybody() {
        assert_eq!(principal("*").unwrap(), "*");
        assert_eq!(principal("s3.amazonaws.com").unwrap(), json!({"Service": "s3.amazonaws.com"}));
        assert_eq!(principal("123456789012").unwrap(), json!({"AWS": "arn:aws:iam::123456789012:root"}));
        assert!(principal("somebody").is_err());
        assert!(principal("1234").is_err());
    }

    #[test]
    fn a_statement_is_written_as_lambda_writes_it() {
        let permission: Permission = serde_json::from_value(json!({
            "StatementId": "s1", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
            "SourceArn": "arn:aws:execute-api:us-east-1:123456789012:api/*",
        }))
        .unwrap();
        assert_eq!(
            permission.statement("arn:aws:lambda:us-east-1:123456789012:function:F").unwrap().to_string(),
            r#"{"Sid":"s1","Effect":"Allow","Principal":{"Service":"apigateway.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:123456789012:function:F","Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:execute-api:us-east-1:123456789012:api/*"}}}"#
        );
    }
}
