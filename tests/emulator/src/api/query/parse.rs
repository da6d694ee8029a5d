//! How a `q` is written: tokens, then terms joined by `and`, `or` and `not`.

use super::super::error::ApiError;
use super::{Field, Literal, Operator, Query};
use crate::drive::clock;
use crate::drive::role::Role;

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let bad = || ApiError::invalid_value("q");
        let mut parser = Parser { tokens: tokens(text).ok_or_else(bad)?, at: 0 };
        let query = parser.or().ok_or_else(bad)?;
        if parser.at == parser.tokens.len() { Ok(query) } else { Err(bad()) }
    }
}

/// The least role of those whom a list of people names.
fn least(people: &str) -> Option<Role> {
    match people {
        "owners" => Some(Role::Owner),
        "writers" => Some(Role::Writer),
        "readers" => Some(Role::Reader),
        _ => None,
    }
}

const VISIBILITIES: [&str; 5] =
    ["anyoneCanFind", "anyoneWithLink", "domainCanFind", "domainWithLink", "limited"];

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
        } else if "(){}".contains(c) {
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
                    Token::Word(word) if word == "labels" => Some(Query::Labelled),
                    Token::Word(word) => Some(Query::Person { who: value, least: least(&word)? }),
                    _ => None,
                }
            }
            Token::Word(field) => match field.as_str() {
                "sharedWithMe" => self.shared_with_me(),
                "properties" | "appProperties" => self.has(field == "appProperties"),
                _ => self.comparison(&field),
            },
            Token::Symbol(_) => None,
        }
    }

    /// Alone, or compared with the one value Drive admits: `sharedWithMe = false` was seen to be refused.
    fn shared_with_me(&mut self) -> Option<Query> {
        let wanted = if self.symbol("=") {
            "true"
        } else if self.symbol("!=") {
            "false"
        } else {
            return Some(Query::SharedWithMe);
        };
        self.word(wanted).then_some(Query::SharedWithMe)
    }

    /// `has { key='…' and value='…' }`.
    fn has(&mut self, of_app: bool) -> Option<Query> {
        let opens = self.word("has") && self.symbol("{") && self.word("key") && self.symbol("=");
        let key = opens.then(|| self.text()).flatten()?;
        let goes_on = self.word("and") && self.word("value") && self.symbol("=");
        let value = goes_on.then(|| self.text()).flatten()?;
        self.symbol("}").then_some(Query::Has { of_app, key, value })
    }

    fn text(&mut self) -> Option<String> {
        match self.next()? {
            Token::Text(text) => Some(text),
            Token::Word(_) | Token::Symbol(_) => None,
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
            "viewedByMeTime" => Field::ViewedByMeTime,
            "visibility" => Field::Visibility,
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
    let is_time = matches!(field, Field::CreatedTime | Field::ModifiedTime | Field::ViewedByMeTime);
    match (field, token) {
        (Field::Trashed | Field::Starred, Token::Word(word)) if equality => {
            Some(Literal::Bool(word.to_ascii_lowercase().parse().ok()?))
        }
        (_, Token::Text(text)) if is_time && operator != Operator::Contains => {
            Some(Literal::Time(clock::parse(&text)?))
        }
        (Field::Visibility, Token::Text(text)) if equality && VISIBILITIES.contains(&text.as_str()) => {
            Some(Literal::Text(text))
        }
        (Field::Name | Field::MimeType, Token::Text(text)) if equality || operator == Operator::Contains => {
            Some(Literal::Text(text))
        }
        (Field::ShortcutTarget, Token::Text(text)) if equality => Some(Literal::Text(text)),
        (Field::FullText, Token::Text(text)) if operator == Operator::Contains => Some(Literal::Text(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_take_the_operators_and_values_that_drive_admits() {
        for (text, is_valid) in [
            ("name = 'a' and not (name contains 'b' or mimeType != 'c/d')", true),
            ("createdTime >= '2026-01-01' and modifiedTime < '2026-01-01T00:00:00+02:00'", true),
            ("viewedByMeTime > '2026-01-01T00:00:00'", true),
            ("'x' in parents and 'me' in owners and 'a@b.c' in writers and 'a@b.c' in readers", true),
            ("appProperties has { key='k' and value='v' }", true),
            ("properties has {key='k' and value='it\\'s'}", true),
            ("sharedWithMe and starred = true and trashed=False", true),
            ("sharedWithMe = true", true),
            ("sharedWithMe != false", true),
            ("sharedWithMe = false", false),
            ("sharedWithMe != true", false),
            ("visibility = 'limited' or visibility != 'anyoneWithLink'", true),
            ("visibility = 'secret'", false),
            ("shortcutDetails.targetId = 'x'", true),
            ("fullText contains 'x'", true),
            ("fullText = 'x'", false),
            ("name < 'x'", false),
            ("trashed = 'true'", false),
            ("trashed > false", false),
            ("modifiedTime > 'yesterday'", false),
            ("'x' in folders", false),
            ("size > '5'", false),
            ("appProperties has {key='k'}", false),
            ("name = 'a' name = 'b'", false),
            ("name = 'a", false),
            ("(name = 'a'", false),
            ("name = 'a' and", false),
            ("", false),
        ] {
            assert_eq!(Query::parse(text).is_ok(), is_valid, "{text}");
        }
    }
}
