source(file.path(snakemake@scriptdir, "helper.R"))
log <- file(snakemake@log[[1]], open = "wt")
sink(log, type = "message")
message("read ", length(snakemake@input[["rest"]]), " more")
table <- read.csv(snakemake@input[["table"]])
lines <- c(
  sum_of(table) * snakemake@params[["factor"]],
  paste(snakemake@params[["words"]], collapse = "+"),
  snakemake@params[["on"]],
  snakemake@config[["word"]],
  snakemake@wildcards[["name"]],
  snakemake@threads,
  snakemake@rule
)
writeLines(as.character(lines), snakemake@output[[1]])
