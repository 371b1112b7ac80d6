//! temp
use clap::Parser;
#[derive(Parser)]
enum Cli { ConvertModel(ko_sentiment::cli::convert::ConvertArgs) }
fn main() { let Cli::ConvertModel(a)=Cli::parse(); if let Err(e)=ko_sentiment::cli::convert::run(&a) { eprintln!("error: {e}"); std::process::exit(1) } }
