//! The `q` parameter of `files.list`: parsed into an expression, evaluated on one file at a time.

use super::error::ApiError;
use crate::drive::clock;
use crate::drive::node::{Kind, Node};
use crate::drive::state::State;
use crate::oauth::credentials;

/// A search expression.
#[derive(Debug)]
pub(crate) enum Query {
    And(Box<Query>, Box<Query>),
    Or(Box<Query>, Box<Query>),
    Not(Box<Query>),
    /// `'ID' in parents`.
    Below(String),
    /// `'someone' in owners`, `writers` or `readers`.
    Person(String),
    Compare {
        field: Field,
        operator: Operator,
        value: Literal,
    },
    /// A term that is true or false of everything here.
    Constant(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Name,
    MimeType,
    Trashed,
    Starred,
    CreatedTime,
    ModifiedTime,
    ShortcutTarget,
    FullText,
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
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let bad = || ApiError::invalid_value("q");
        let mut parser = Parser { tokens: tokens(text).ok_or_else(bad)?, at: 0 };
        let query = parser.or().ok_or_else(bad)?;
        if parser.at == parser.tokens.len() { Ok(query) } else { Err(bad()) }
    }

    /// The one folder whose children alone can match, if the expression says so.
    pub(crate) fn folder(&self) -> Option<&str> {
        match self {
            Self::Below(id) => Some(id),
            Self::And(left, right) => left.folder().or_else(|| right.folder()),
            _ => None,
        }
    }

    pub(crate) fn matches(&self, state: &State, node: &Node) -> bool {
        match self {
            Self::And(left, right) => left.matches(state, node) && right.matches(state, node),
            Self::Or(left, right) => left.matches(state, node) || right.matches(state, node),
            Self::Not(inner) => !inner.matches(state, node),
            Self::Below(id) => {
                let folder = if id == "root" { &state.root } else { id };
                node.parent.as_ref() == Some(folder)
            }
            Self::Person(who) => node.drive.is_none() && (who == "me" || who == credentials::USER),
            Self::Compare { field, operator, value } => compare(state, node, *field, *operator, value),
            Self::Constant(value) => *value,
        }
    }
}

fn compare(state: &State, node: &Node, field: Field, operator: Operator, value: &Literal) -> bool {
    match (field, value) {
        (Field::Name, Literal::Text(text)) if operator == Operator::Contains => has_word(&node.name, text),
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
        (Field::Trashed, Literal::Bool(wanted)) => order(operator, state.is_trashed(node).cmp(wanted)),
        (Field::Starred, Literal::Bool(wanted)) => order(operator, false.cmp(wanted)),
        (Field::CreatedTime, Literal::Time(time)) => order(operator, node.created.cmp(time)),
        (Field::ModifiedTime, Literal::Time(time)) => order(operator, node.modified.cmp(time)),
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

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Symbol(String),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
        } else if c == '\'' || c == '"' {
            chars.next();
            tokens.push(Token::Text(quoted(&mut chars, c)?));
        } else if "()".contains(c) {
            chars.next();
            tokens.push(Token::Symbol(c.to_string()));
        } else if "=!<>".contains(c) {
            chars.next();
            let mut symbol = c.to_string();
            if c != '=' && chars.peek() == Some(&'=') {
                chars.next();
                symbol.push('=');
            }
            tokens.push(Token::Symbol(symbol));
        } else {
            let mut word = String::new();
            while let Some(&c) = chars.peek().filter(|c| c.is_alphanumeric() || "._-".contains(**c)) {
                word.push(c);
                chars.next();
            }
            if word.is_empty() {
                return None;
            }
            tokens.push(Token::Word(word));
        }
    }
    Some(tokens)
}

/// Up to the closing quote; a backslash escapes the next character.
fn quoted(chars: &mut impl Iterator<Item = char>, quote: char) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '\\' => text.push(chars.next()?),
            c if c == quote => return Some(text),
            c => text.push(c),
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        Some(token)
    }

    fn word(&mut self, wanted: &str) -> bool {
        let found =
            matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Symbol(symbol)) if symbol == wanted);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Option<Query> {
        let mut left = self.and()?;
        while self.word("or") {
            left = Query::Or(Box::new(left), Box::new(self.and()?));
        }
        Some(left)
    }

    fn and(&mut self) -> Option<Query> {
        let mut left = self.not()?;
        while self.word("and") {
            left = Query::And(Box::new(left), Box::new(self.not()?));
        }
        Some(left)
    }

    fn not(&mut self) -> Option<Query> {
        if self.word("not") {
            return Some(Query::Not(Box::new(self.not()?)));
        }
        if self.symbol("(") {
            let inner = self.or()?;
            return self.symbol(")").then_some(inner);
        }
        self.term()
    }

    fn term(&mut self) -> Option<Query> {
        match self.next()? {
            Token::Text(value) => {
                if !self.word("in") {
                    return None;
                }
                match self.next()? {
                    Token::Word(word) if word == "parents" => Some(Query::Below(value)),
                    Token::Word(word) if matches!(word.as_str(), "owners" | "writers" | "readers") => {
                        Some(Query::Person(value))
                    }
                    _ => None,
                }
            }
            Token::Word(field) if field == "sharedWithMe" => {
                self.symbol("=").then(|| self.next());
                Some(Query::Constant(false))
            }
            Token::Word(field) => self.comparison(&field),
            Token::Symbol(_) => None,
        }
    }

    fn comparison(&mut self, field: &str) -> Option<Query> {
        let field = match field {
            "name" => Field::Name,
            "fullText" => Field::FullText,
            "mimeType" => Field::MimeType,
            "trashed" => Field::Trashed,
            "starred" => Field::Starred,
            "createdTime" => Field::CreatedTime,
            "modifiedTime" => Field::ModifiedTime,
            "shortcutDetails.targetId" => Field::ShortcutTarget,
            _ => return None,
        };
        let operator = match self.next()? {
            Token::Symbol(symbol) => match symbol.as_str() {
                "=" => Operator::Equal,
                "!=" => Operator::NotEqual,
                "<" => Operator::Less,
                "<=" => Operator::LessOrEqual,
                ">" => Operator::Greater,
                ">=" => Operator::GreaterOrEqual,
                _ => return None,
            },
            Token::Word(word) if word == "contains" => Operator::Contains,
            _ => return None,
        };
        let value = literal(field, operator, self.next()?)?;
        Some(Query::Compare { field, operator, value })
    }
}

/// A value of the kind the field has, with an operator the field admits.
fn literal(field: Field, operator: Operator, token: Token) -> Option<Literal> {
    let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
    match (field, token) {
        (Field::Trashed | Field::Starred, Token::Word(word)) if equality => {
            Some(Literal::Bool(word.parse().ok()?))
        }
        (Field::CreatedTime | Field::ModifiedTime, Token::Text(text)) if operator != Operator::Contains => {
            Some(Literal::Time(clock::parse(&text)?))
        }
        (Field::Name | Field::MimeType, Token::Text(text)) if equality || operator == Operator::Contains => {
            Some(Literal::Text(text))
        }
        (Field::ShortcutTarget, Token::Text(text)) if equality => Some(Literal::Text(text)),
        (Field::FullText, Token::Text(text)) if operator == Operator::Contains => Some(Literal::Text(text)),
        _ => None,
    }
}
