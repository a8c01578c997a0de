//! JSON Schemas of inputs and outputs, where their types have one.
//!
//! `#[workflow]` and `#[activity]` know the types but not which traits these have, so they ask by
//! autoref: a method of [`Known`] is found before one of [`Unknown`], which needs one reference more.

use core::marker::PhantomData;

/// Asks for the schema of a type.
pub struct Of<T: ?Sized>(PhantomData<fn() -> Box<T>>);

impl<T: ?Sized> Of<T> {
    /// To ask about this type.
    #[expect(clippy::new_without_default, reason = "it is made by macros alone")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// The answer for a type that has a schema.
pub trait Known {
    /// What it is read from, as JSON Schema.
    fn input(&self) -> Option<String>;
    /// What it is written as, as JSON Schema.
    fn output(&self) -> Option<String>;
}

/// The answer for every other type.
pub trait Unknown {
    /// Nothing is known of it.
    fn input(&self) -> Option<String> {
        None
    }
    /// Nothing is known of it.
    fn output(&self) -> Option<String> {
        None
    }
}

impl<T: ?Sized> Unknown for &Of<T> {}

#[cfg(feature = "schemas")]
mod known {
    use std::borrow::Cow;

    use schemars::generate::{Contract, SchemaSettings};
    use schemars::{JsonSchema, Schema, SchemaGenerator};
    use serde_json::Value;

    use super::{Known, Of};

    impl<T: ?Sized + JsonSchema> Known for Of<T> {
        fn input(&self) -> Option<String> {
            Some(written(
                Contract::Deserialize,
                T::schema_name,
                T::json_schema,
            ))
        }

        fn output(&self) -> Option<String> {
            Some(written(Contract::Serialize, T::schema_name, T::json_schema))
        }
    }

    /// What `SchemaGenerator::into_root_schema_for` gives, without the name of the dialect. That is
    /// compiled for each type anew, this once: a third of what schemas add to a module.
    fn written(
        contract: Contract,
        name: fn() -> Cow<'static, str>,
        schema: fn(&mut SchemaGenerator) -> Schema,
    ) -> String {
        let mut settings = SchemaSettings::draft2020_12();
        settings.contract = contract;
        let mut generator = settings.into_generator();
        let mut schema = schema(&mut generator);
        let definitions = generator.take_definitions(false);
        if let Some(object) = schema.as_object_mut() {
            object
                .entry("title")
                .or_insert_with(|| Value::String(name().into_owned()));
            if !definitions.is_empty() {
                object.insert("$defs".into(), Value::Object(definitions));
            }
        }
        // Not by `Value::to_string`: that can write it pretty as well, which takes room.
        serde_json::to_string(schema.as_value()).expect("a schema is plain data")
    }
}
