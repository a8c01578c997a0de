//! The attribute macros of wfhost-sdk: `#[workflow]` and `#[activity]`.
//!
//! Both leave the function as it is, to be called and tested like any other, and add a type of the
//! same name that implements `wfhost_sdk::Workflow` or `wfhost_sdk::Activity`. Functions and types
//! have separate namespaces, so `ctx.call::<notify>(…)` and `notify(…)` live side by side.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote, quote_spanned};
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{Error, Expr, ExprLit, FnArg, ItemFn, Lit, LitStr, Meta, Result, ReturnType, Type};

/// Most bytes of a name, as in the contract.
const NAME_BYTES_MAX: usize = 200;

/// Makes an `async fn` a workflow.
///
/// ```ignore
/// /// Sells cars.
/// #[workflow]
/// async fn order(ctx: Context, order: Order) -> Result<Receipt> { … }
///
/// #[workflow(name = "OrderProcessingWorkflow", description = "Sells cars.")]
/// async fn order_processing(ctx: Context, order: Order) -> Result<Receipt> { … }
/// ```
///
/// The function takes the `Context`, and one input of any type that serde can read, which may be
/// left out: then the input is `null`. It returns a `Result` of any type that serde can write, with
/// any error. The name is the function's unless given; the description is its documentation.
/// Types that have `JsonSchema` are described to the host.
#[proc_macro_attribute]
pub fn workflow(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(&Role::Workflow, attribute.into(), item.into())
}

/// Makes a `fn` an activity.
///
/// ```ignore
/// #[activity(name = "NotifyActivity")]
/// fn notify(ctx: ActivityContext, message: String) -> Result<()> { … }
/// ```
///
/// The function takes the `ActivityContext`, and one input of any type that serde can read, which
/// may be left out: then the input is `null`. It returns a `Result` of any type that serde can
/// write, with any error. The name is the function's unless given; the description is its documentation.
/// Types that have `JsonSchema` are described to the host.
#[proc_macro_attribute]
pub fn activity(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(&Role::Activity, attribute.into(), item.into())
}

enum Role {
    Workflow,
    Activity,
}

fn expand(role: &Role, attribute: Tokens, item: Tokens) -> TokenStream {
    // The function is kept when it is refused, so that its own errors are still shown.
    let expanded = syn::parse2::<ItemFn>(item.clone())
        .and_then(|function| implementation(role, attribute, &function))
        .unwrap_or_else(Error::into_compile_error);
    quote!(#item #expanded).into()
}

fn implementation(role: &Role, attribute: Tokens, function: &ItemFn) -> Result<Tokens> {
    check_signature(role, function)?;
    let Naming { name, description } = naming(attribute, function)?;
    let (identifier, visibility) = (&function.sig.ident, &function.vis);
    let returned = match &function.sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, returned) => quote!(#returned),
    };
    let output = quote_spanned! {returned.span()=>
        <#returned as ::wfhost_sdk::__private::Outcome>::Value
    };
    let (input, call) = match input_of(function) {
        Some(input) => (quote!(#input), quote!(code(ctx, input))),
        None => (
            quote!(()),
            quote!({
                let () = input;
                code(ctx)
            }),
        ),
    };
    let (role, run) = match role {
        Role::Workflow => (
            format_ident!("Workflow"),
            quote! {
                fn run(
                    ctx: ::wfhost_sdk::Context,
                    input: Self::Input,
                ) -> impl ::core::future::Future<Output = ::wfhost_sdk::Result<Self::Output>> + 'static {
                    let code = #identifier;
                    // Called through a pointer, so that a backtrace names the author's function.
                    let code: ::core::pin::Pin<::std::boxed::Box<
                        dyn ::core::future::Future<Output = #returned>,
                    >> = ::std::boxed::Box::pin(#call);
                    async move { converted!(code.await) }
                }
            },
        ),
        Role::Activity => (
            format_ident!("Activity"),
            quote! {
                fn run(
                    ctx: ::wfhost_sdk::ActivityContext,
                    input: Self::Input,
                ) -> ::wfhost_sdk::Result<Self::Output> {
                    // Called through a pointer, so that a backtrace names the author's function.
                    let code = ::core::hint::black_box(#identifier);
                    converted!(#call)
                }
            },
        ),
    };
    let doc = format!("The type of [`{identifier}`](fn@{identifier}), to call it by.");
    Ok(quote! {
        #[doc = #doc]
        #[allow(non_camel_case_types, dead_code, unreachable_pub)]
        #visibility enum #identifier {}

        const _: () = {
            // Takes the error of the function as it is: see `wfhost_sdk::Error`.
            macro_rules! converted {
                ($outcome:expr) => {
                    match $outcome {
                        ::core::result::Result::Ok(output) => ::core::result::Result::Ok(output),
                        ::core::result::Result::Err(error) => {
                            #[allow(unused_imports)]
                            use ::wfhost_sdk::__private::convert::{ByChain as _, ByFrom as _, ByKind as _, BySendChain as _, ByText as _, of};
                            ::core::result::Result::Err((&&&&of(&error)).convert(error))
                        }
                    }
                };
            }

            // Asks whether a type has a schema: see `wfhost_sdk::__private::schema`.
            macro_rules! schema {
                ($type:ty, $side:ident) => {{
                    #[allow(unused_imports)]
                    use ::wfhost_sdk::__private::schema::{Known as _, Of, Unknown as _};
                    (&Of::<$type>::new()).$side()
                }};
            }

            impl ::wfhost_sdk::#role for #identifier {
                type Input = #input;
                type Output = #output;
                const NAME: &'static str = #name;
                const DESCRIPTION: &'static str = #description;

                fn input_schema() -> ::core::option::Option<::std::string::String> {
                    schema!(#input, input)
                }

                fn output_schema() -> ::core::option::Option<::std::string::String> {
                    schema!(#output, output)
                }

                #[allow(clippy::needless_borrow, clippy::unused_unit)]
                #run
            }
        };
    })
}

fn check_signature(role: &Role, function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    let refuse = |span, message: &str| Err(Error::new(span, message));
    match (role, &signature.asyncness) {
        (Role::Workflow, None) => {
            return refuse(
                signature.fn_token.span,
                "a workflow is an `async fn`, since it waits for what it asks; \
                 for plain work write an `#[activity]`",
            );
        }
        (Role::Activity, Some(asyncness)) => {
            return refuse(
                asyncness.span(),
                "an activity is a plain `fn`: it may block, and the host runs many at once",
            );
        }
        _ => {}
    }
    if !signature.generics.params.is_empty() {
        return refuse(
            signature.generics.span(),
            "it is called by name from outside, so it can have no generic parameters",
        );
    }
    let context = match role {
        Role::Workflow => "ctx: Context",
        Role::Activity => "ctx: ActivityContext",
    };
    let shape = format!("takes `{context}`, and at most one input: `({context}, input: Input)`");
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        return refuse(
            receiver.span(),
            &format!("a free function is needed here, which {shape}"),
        );
    }
    match signature.inputs.len() {
        1 | 2 => Ok(()),
        0 => refuse(signature.ident.span(), &format!("this {shape}")),
        _ => refuse(
            signature.inputs[2].span(),
            &format!("this {shape}; gather more inputs in a struct"),
        ),
    }
}

fn input_of(function: &ItemFn) -> Option<&Type> {
    match function.sig.inputs.get(1)? {
        FnArg::Typed(input) => Some(&input.ty),
        FnArg::Receiver(_) => None,
    }
}

struct Naming {
    name: String,
    description: String,
}

fn naming(attribute: Tokens, function: &ItemFn) -> Result<Naming> {
    let mut name = None;
    let mut description = None;
    syn::meta::parser(|meta| {
        let value = |meta: &syn::meta::ParseNestedMeta<'_>| meta.value()?.parse::<LitStr>();
        if meta.path.is_ident("name") {
            name = Some(value(&meta)?);
        } else if meta.path.is_ident("description") {
            description = Some(value(&meta)?);
        } else {
            return Err(meta.error("only `name = \"…\"` and `description = \"…\"` are known here"));
        }
        Ok(())
    })
    .parse2(attribute)?;
    if let Some(name) = &name {
        let bytes = name.value().len();
        if bytes == 0 || bytes > NAME_BYTES_MAX {
            let message = format!("a name has 1 to {NAME_BYTES_MAX} bytes, this one has {bytes}");
            return Err(Error::new(name.span(), message));
        }
    }
    Ok(Naming {
        name: name.map_or_else(|| function.sig.ident.to_string(), |name| name.value()),
        description: description.map_or_else(|| documentation(function), |text| text.value()),
    })
}

/// The lines of the function's doc comments, without the space that follows each `///`.
fn documentation(function: &ItemFn) -> String {
    let lines = function
        .attrs
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(line),
                    ..
                }) => Some(line.value()),
                _ => None,
            },
            _ => None,
        });
    let lines: Vec<String> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).to_owned())
        .collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(role: &Role, attribute: &str, function: &str) -> String {
        let attribute = attribute.parse().expect(attribute);
        let function = syn::parse_str(function).expect(function);
        implementation(role, attribute, &function)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn a_function_of_the_wrong_shape_is_refused_with_what_to_do() {
        for (role, attribute, function, message) in [
            (
                Role::Workflow,
                "",
                "fn f(ctx: Context) {}",
                "a workflow is an `async fn`",
            ),
            (
                Role::Activity,
                "",
                "async fn f(ctx: ActivityContext) {}",
                "an activity is a plain `fn`",
            ),
            (
                Role::Workflow,
                "",
                "async fn f() {}",
                "this takes `ctx: Context`, and at most one",
            ),
            (
                Role::Workflow,
                "",
                "async fn f(c: C, a: A, b: B) {}",
                "gather more inputs in a struct",
            ),
            (
                Role::Workflow,
                "",
                "async fn f(&self, a: A) {}",
                "a free function is needed",
            ),
            (
                Role::Activity,
                "",
                "fn f<T>(c: C, t: T) {}",
                "no generic parameters",
            ),
            (
                Role::Activity,
                "title = \"x\"",
                "fn f(c: C) {}",
                "only `name = \"…\"`",
            ),
            (
                Role::Activity,
                "name = \"\"",
                "fn f(c: C) {}",
                "1 to 200 bytes, this one has 0",
            ),
        ] {
            let refusal = refusal(&role, attribute, function);
            assert!(refusal.contains(message), "{function}: {refusal}");
        }
    }
}
