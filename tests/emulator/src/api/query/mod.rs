//! The `q` parameter of `files.list`, evaluated on one file at a time.

mod parse;

use super::view::View;
use crate::drive::node::{Kind, Node};
use crate::drive::role::Role;

/// A search expression.
#[derive(Debug)]
pub(crate) enum Query {
    And(Box<Query>, Box<Query>),
    Or(Box<Query>, Box<Query>),
    Not(Box<Query>),
    /// `'ID' in parents`.
    Below(String),
    /// `'someone' in owners`, `writers` or `readers`: everybody who may do that much.
    Person {
        who: String,
        least: Role,
    },
    Compare {
        field: Field,
        operator: Operator,
        value: Literal,
    },
    /// `properties has {…}`, or `appProperties` for those of the calling app alone.
    Has {
        of_app: bool,
        key: String,
        value: String,
    },
    /// `sharedWithMe`.
    SharedWithMe,
    /// `'…' in labels`.
    Labelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Name,
    MimeType,
    Trashed,
    Starred,
    CreatedTime,
    ModifiedTime,
    ViewedByMeTime,
    ShortcutTarget,
    FullText,
    Visibility,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

#[derive(Clone, Debug)]
pub(crate) enum Literal {
    Text(String),
    Bool(bool),
    Time(i64),
}

impl Query {
    /// The one folder whose children alone can match, if the expression says so.
    pub(crate) fn folder(&self) -> Option<&str> {
        match self {
            Self::Below(id) => Some(id),
            Self::And(left, right) => left.folder().or_else(|| right.folder()),
            _ => None,
        }
    }

    /// Whether it searches in texts, which Drive cannot sort.
    pub(crate) fn searches_text(&self) -> bool {
        match self {
            Self::And(left, right) | Self::Or(left, right) => left.searches_text() || right.searches_text(),
            Self::Not(inner) => inner.searches_text(),
            Self::Compare { field, .. } => *field == Field::FullText,
            Self::Below(_) | Self::Person { .. } | Self::Has { .. } | Self::SharedWithMe | Self::Labelled => {
                false
            }
        }
    }

    pub(crate) fn matches(&self, view: &View<'_>, node: &Node) -> bool {
        match self {
            Self::And(left, right) => left.matches(view, node) && right.matches(view, node),
            Self::Or(left, right) => left.matches(view, node) || right.matches(view, node),
            Self::Not(inner) => !inner.matches(view, node),
            Self::Below(id) => {
                let folder = if id == "root" { &view.account.root } else { id };
                node.parent.as_ref() == Some(folder)
            }
            Self::Person { who, least } => {
                let address = if who == "me" { &view.account.address } else { who };
                view.role_of(address, node) >= Some(*least)
            }
            Self::Compare { field, operator, value } => compare(view, node, *field, *operator, value),
            Self::Has { of_app, key, value } => {
                let extras = &node.extras;
                let properties = if *of_app { &extras.app_properties } else { &extras.properties };
                properties.get(key) == Some(value)
            }
            Self::SharedWithMe => view.shared_with_me(node).is_some(),
            // There are no labels.
            Self::Labelled => false,
        }
    }
}

fn compare(view: &View<'_>, node: &Node, field: Field, operator: Operator, value: &Literal) -> bool {
    match (field, value) {
        (Field::Name | Field::FullText, Literal::Text(text)) if operator == Operator::Contains => {
            has_word(&node.name, text)
        }
        (Field::Name, Literal::Text(text)) => order(operator, node.name.as_str().cmp(text)),
        (Field::MimeType, Literal::Text(text)) if operator == Operator::Contains => {
            node.mime_type.contains(text.as_str())
        }
        (Field::MimeType, Literal::Text(text)) => order(operator, node.mime_type.as_str().cmp(text)),
        (Field::ShortcutTarget, Literal::Text(text)) => match &node.kind {
            Kind::Shortcut { target, .. } => order(operator, target.as_str().cmp(text)),
            _ => false,
        },
        (Field::Trashed, Literal::Bool(wanted)) => order(operator, view.is_trashed(node).cmp(wanted)),
        (Field::Starred, Literal::Bool(wanted)) => order(operator, node.extras.starred.cmp(wanted)),
        (Field::CreatedTime, Literal::Time(time)) => order(operator, node.created.cmp(time)),
        (Field::ModifiedTime, Literal::Time(time)) => order(operator, node.modified.cmp(time)),
        (Field::ViewedByMeTime, Literal::Time(time)) => {
            node.extras.viewed.is_some_and(|viewed| order(operator, viewed.cmp(time)))
        }
        (Field::Visibility, Literal::Text(text)) => order(operator, view.visibility(node).cmp(text)),
        _ => false,
    }
}

fn order(operator: Operator, ordering: std::cmp::Ordering) -> bool {
    match operator {
        Operator::Equal => ordering.is_eq(),
        Operator::NotEqual => ordering.is_ne(),
        Operator::Less => ordering.is_lt(),
        Operator::LessOrEqual => ordering.is_le(),
        Operator::Greater => ordering.is_gt(),
        Operator::GreaterOrEqual => ordering.is_ge(),
        Operator::Contains => false,
    }
}

/// `contains` on names finds the beginning of words only, in any case.
fn has_word(name: &str, text: &str) -> bool {
    let (name, text) = (name.to_lowercase(), text.to_lowercase());
    name.match_indices(&text)
        .any(|(at, _)| name[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric()))
}
