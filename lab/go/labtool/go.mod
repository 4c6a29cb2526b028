module labtool

go 1.21
