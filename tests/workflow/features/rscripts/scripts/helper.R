sum_of <- function(table) sum(table)
